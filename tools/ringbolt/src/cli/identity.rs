//! `ringbolt account`, `user`, `group`, `key` and `policy`: who there is, and who may do what.

use super::server::{ServerArgs, table};
use crate::admin::AdminError;
use clap::{Args, Subcommand};
use ringbolt_tool_common::date;
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};

/// The reason why a command about users or policies failed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityCliError {
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error("can not read the policy {}: {source}", path.display())]
    Policy { path: PathBuf, source: std::io::Error },
}

/// Says which account is meant, and which server is asked.
#[derive(Args)]
struct Place {
    /// The account: its name, its 12 digits or its canonical id [default: that of the node's root]
    #[arg(long, env = "RINGBOLT_ACCOUNT", value_name = "ACCOUNT")]
    account: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// A name, with its account.
#[derive(Args)]
struct Named {
    /// Its name
    name: String,
    #[command(flatten)]
    place: Place,
}

/// Add, list and remove accounts, which own buckets
///
/// An account is a tenant: nobody of it sees what another one owns, unless that is shared. The first one is that of the
/// node's root, whose key is in users.toml or in the environment.
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct AccountArgs {
    #[command(subcommand)]
    command: AccountCommand,
}

#[derive(Subcommand)]
enum AccountCommand {
    Add(AccountAddArgs),
    List(AccountListArgs),
    Remove(AccountRemoveArgs),
}

/// Add an account
///
/// It has no key: make one for its root, who may do everything in it, or add users.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt account add tenant
  ringbolt key create --account tenant        the key of its root, shown once")]
struct AccountAddArgs {
    /// Its name, which is shown as the owner of what it has
    name: String,
    /// Shown with it
    #[arg(long, env = "RINGBOLT_EMAIL")]
    email: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// List all accounts
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt account list
  ringbolt account list --json | jq .accounts")]
struct AccountListArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// Remove an account that has no users, groups, policies and buckets
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt account remove old-tenant")]
struct AccountRemoveArgs {
    /// Its name, its 12 digits or its canonical id
    account: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Add, show, disable and remove users, who may do what policies allow
///
/// A new user may do nothing. Give it a policy (`ringbolt policy attach`), or put it into a group that has one
/// (`ringbolt group join`); then make a key for it (`ringbolt key create`).
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct UserArgs {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Subcommand)]
enum UserCommand {
    Add(UserAddArgs),
    List(UserListArgs),
    Show(UserShowArgs),
    Disable(UserDisableArgs),
    Enable(UserEnableArgs),
    Remove(UserRemoveArgs),
}

/// Add a user
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt user add carol                     may do nothing yet
  ringbolt policy attach readwrite --user carol
  ringbolt key create --user carol            shows access key and secret, once")]
struct UserAddArgs {
    #[command(flatten)]
    named: Named,
}

/// List the users of an account
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt user list
  ringbolt user list --json | jq .users")]
struct UserListArgs {
    #[command(flatten)]
    place: Place,
}

/// Show a user with its groups, policies and keys
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt user show alice")]
struct UserShowArgs {
    #[command(flatten)]
    named: Named,
}

/// Let none of a user's keys work, from its next request on
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt user disable alice                 `ringbolt user enable alice` takes it back")]
struct UserDisableArgs {
    #[command(flatten)]
    named: Named,
}

/// Let a user's keys work again
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt user enable alice")]
struct UserEnableArgs {
    #[command(flatten)]
    named: Named,
}

/// Remove a user, with its keys
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt user remove bob")]
struct UserRemoveArgs {
    #[command(flatten)]
    named: Named,
}

/// Add, show and remove groups, whose users have the group's policies
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct GroupArgs {
    #[command(subcommand)]
    command: GroupCommand,
}

#[derive(Subcommand)]
enum GroupCommand {
    Add(GroupAddArgs),
    Join(GroupJoinArgs),
    List(GroupListArgs),
    Show(GroupShowArgs),
    Leave(GroupLeaveArgs),
    Remove(GroupRemoveArgs),
}

/// Add a group
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt group add readers
  ringbolt policy attach readonly --group readers")]
struct GroupAddArgs {
    #[command(flatten)]
    named: Named,
}

/// List the groups of an account
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt group list")]
struct GroupListArgs {
    #[command(flatten)]
    place: Place,
}

/// Show a group with its users and policies
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt group show readers")]
struct GroupShowArgs {
    #[command(flatten)]
    named: Named,
}

/// Put a user into a group
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt group join readers alice")]
struct GroupJoinArgs {
    #[command(flatten)]
    named: Named,
    /// Name of the user
    user: String,
}

/// Take a user out of a group
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt group leave readers alice")]
struct GroupLeaveArgs {
    #[command(flatten)]
    named: Named,
    /// Name of the user
    user: String,
}

/// Remove a group that has no users
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt group remove readers")]
struct GroupRemoveArgs {
    #[command(flatten)]
    named: Named,
}

/// Make, list, disable and remove access keys
///
/// A key that is disabled or removed fails with the next request, also on connections that are open.
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Subcommand)]
enum KeyCommand {
    Create(KeyCreateArgs),
    List(KeyListArgs),
    Disable(KeyDisableArgs),
    Enable(KeyEnableArgs),
    Remove(KeyRemoveArgs),
}

/// Make an access key: its secret is shown this once
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt key create --user alice
  ringbolt key create --user alice --json | jq -r .secret_key")]
struct KeyCreateArgs {
    /// The user that it is for; without it, the root of the account, who may do everything in it
    #[arg(long, env = "RINGBOLT_USER")]
    user: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// List access keys, and when each was used last
///
/// The last use is to the minute, and durable within an hour.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt key list                           all of the account
  ringbolt key list --user alice --json | jq .keys")]
struct KeyListArgs {
    /// Those of a user alone
    #[arg(long, env = "RINGBOLT_USER")]
    user: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Let a key work no more, from its next request on
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt key disable RBEXAMPLEKEY")]
struct KeyDisableArgs {
    /// The access key
    access_key: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Let a key work again
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt key enable RBEXAMPLEKEY")]
struct KeyEnableArgs {
    /// The access key
    access_key: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Remove a key for ever
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt key remove RBEXAMPLEKEY")]
struct KeyRemoveArgs {
    /// The access key
    access_key: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Put, attach and explain policies, in the language of AWS
///
/// A managed policy has a name and is attached to users and groups. With --user or --group a policy is part of that one
/// user or group. Every account has readonly, readwrite, writeonly, AmazonS3FullAccess and AmazonS3ReadOnlyAccess.
#[derive(Args)]
#[command(arg_required_else_help = true)]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Subcommand)]
enum PolicyCommand {
    Put(PolicyPutArgs),
    Attach(PolicyAttachArgs),
    List(PolicyListArgs),
    Show(PolicyShowArgs),
    Explain(PolicyExplainArgs),
    Detach(PolicyDetachArgs),
    Remove(PolicyRemoveArgs),
}

/// Says whose a policy is.
#[derive(Args)]
struct Holder {
    /// Of this user
    #[arg(long, env = "RINGBOLT_USER", conflicts_with = "group")]
    user: Option<String>,
    /// Of this group
    #[arg(long, env = "RINGBOLT_GROUP")]
    group: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Put a policy, in the place of one of the same name
///
/// What the server does not understand is refused, never ignored.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt policy put photos-only photos.json
  ringbolt policy put own photos.json --user alice
                                              part of that user
  ringbolt policy put photos-only - < photos.json")]
struct PolicyPutArgs {
    /// Its name
    name: String,
    /// The file with the document, or - for the standard input
    file: PathBuf,
    #[command(flatten)]
    holder: Holder,
}

/// Give a managed policy to a user or group
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt policy attach photos-only --user alice
  ringbolt policy attach readwrite --user alice --boundary
                                              the most that alice may, whatever else she has")]
struct PolicyAttachArgs {
    /// Its name, or the ARN of one of AWS
    name: String,
    #[command(flatten)]
    holder: Holder,
    /// As the user's permissions boundary
    #[arg(long, env = "RINGBOLT_BOUNDARY")]
    boundary: bool,
}

/// Take a managed policy away from a user or group
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt policy detach photos-only --user alice
  ringbolt policy detach readwrite --user alice --boundary")]
struct PolicyDetachArgs {
    /// Its name, or the ARN of one of AWS
    name: String,
    #[command(flatten)]
    holder: Holder,
    /// The user's permissions boundary
    #[arg(long, env = "RINGBOLT_BOUNDARY")]
    boundary: bool,
}

/// List managed policies, and who has them
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt policy list")]
struct PolicyListArgs {
    #[command(flatten)]
    place: Place,
}

/// Show a policy
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt policy show photos-only
  ringbolt policy show own --user alice")]
struct PolicyShowArgs {
    /// Its name
    name: String,
    #[command(flatten)]
    holder: Holder,
}

/// Remove a policy that nobody has, or one that is part of a user or group
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt policy remove photos-only
  ringbolt policy remove own --user alice")]
struct PolicyRemoveArgs {
    /// Its name
    name: String,
    #[command(flatten)]
    holder: Holder,
}

/// Say whether a user may do something, and which statement of which policy says so
///
/// Policies of the user and its groups, its boundary, the bucket's policy and the ACLs are judged, as for a request.
/// Conditions see nothing of a request but who asks, and for what.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt policy explain --as alice s3:GetObject arn:aws:s3:::photos/1.jpg
  ringbolt policy explain s3:ListBucket arn:aws:s3:::photos --json | jq .allowed
                                              without --as: the root of the account")]
struct PolicyExplainArgs {
    /// The user who asks; without it, the root of the account
    #[arg(long = "as", env = "RINGBOLT_AS", value_name = "USER")]
    by: Option<String>,
    /// The action, as in s3:GetObject
    action: String,
    /// The bucket or object, as in arn:aws:s3:::photos/1.jpg
    resource: String,
    #[command(flatten)]
    place: Place,
}

/// What is asked of a server, and how its answer is shown.
type Ask<'a> = (&'a ServerArgs, Value, fn(&Value) -> String);

fn ask((server, body, text): Ask<'_>) -> Result<(), IdentityCliError> {
    let value = server.client()?.ask("POST", "identity", Some(&body))?;
    server.show(&value, text);
    Ok(())
}

fn of(named: &Named, request: &str, more: Value) -> Value {
    let mut fields = json!({ "name": named.name, "account": named.place.account });
    if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
        fields.extend(more);
    }
    json!({ request: fields })
}

/// Does what the command line says about accounts.
///
/// # Errors
/// Fails with what the server says is wrong, or when none answers.
pub fn account(args: &AccountArgs) -> Result<(), IdentityCliError> {
    ask(match &args.command {
        AccountCommand::Add(args) => {
            (&args.server, json!({ "account_add": { "name": args.name, "email": args.email } }), fields_text)
        }
        AccountCommand::List(args) => (&args.server, json!({ "account_list": {} }), accounts_text),
        AccountCommand::Remove(args) => {
            (&args.server, json!({ "account_remove": { "account": args.account } }), removed_text)
        }
    })
}

/// Does what the command line says about users.
///
/// # Errors
/// Fails with what the server says is wrong, or when none answers.
pub fn user(args: &UserArgs) -> Result<(), IdentityCliError> {
    let none = || json!({});
    ask(match &args.command {
        UserCommand::Add(UserAddArgs { named }) => {
            (&named.place.server, of(named, "user_add", none()), user_text)
        }
        UserCommand::List(UserListArgs { place }) => {
            (&place.server, json!({ "user_list": { "account": place.account } }), users_text)
        }
        UserCommand::Show(UserShowArgs { named }) => {
            (&named.place.server, of(named, "user_show", none()), user_text)
        }
        UserCommand::Disable(UserDisableArgs { named }) => {
            (&named.place.server, of(named, "user_enable", json!({ "enabled": false })), user_text)
        }
        UserCommand::Enable(UserEnableArgs { named }) => {
            (&named.place.server, of(named, "user_enable", json!({ "enabled": true })), user_text)
        }
        UserCommand::Remove(UserRemoveArgs { named }) => {
            (&named.place.server, of(named, "user_remove", none()), removed_text)
        }
    })
}

/// Does what the command line says about groups.
///
/// # Errors
/// Fails with what the server says is wrong, or when none answers.
pub fn group(args: &GroupArgs) -> Result<(), IdentityCliError> {
    let none = || json!({});
    let member = |user: &str, joins: bool| json!({ "user": user, "joins": joins });
    ask(match &args.command {
        GroupCommand::Add(GroupAddArgs { named }) => {
            (&named.place.server, of(named, "group_add", none()), fields_text)
        }
        GroupCommand::List(GroupListArgs { place }) => {
            (&place.server, json!({ "group_list": { "account": place.account } }), groups_text)
        }
        GroupCommand::Show(GroupShowArgs { named }) => {
            (&named.place.server, of(named, "group_show", none()), fields_text)
        }
        GroupCommand::Join(GroupJoinArgs { named, user }) => {
            (&named.place.server, of(named, "group_member", member(user, true)), user_text)
        }
        GroupCommand::Leave(GroupLeaveArgs { named, user }) => {
            (&named.place.server, of(named, "group_member", member(user, false)), user_text)
        }
        GroupCommand::Remove(GroupRemoveArgs { named }) => {
            (&named.place.server, of(named, "group_remove", none()), removed_text)
        }
    })
}

/// Does what the command line says about access keys.
///
/// # Errors
/// Fails with what the server says is wrong, or when none answers.
pub fn key(args: &KeyArgs) -> Result<(), IdentityCliError> {
    let enable = |access_key: &str, enabled: bool| {
        let fields = json!({ "access_key": access_key, "enabled": enabled });
        json!({ "key_enable": fields })
    };
    ask(match &args.command {
        KeyCommand::Create(KeyCreateArgs { user, place }) => {
            (&place.server, json!({ "key_create": { "user": user, "account": place.account } }), new_key_text)
        }
        KeyCommand::List(KeyListArgs { user, place }) => {
            (&place.server, json!({ "key_list": { "user": user, "account": place.account } }), keys_text)
        }
        KeyCommand::Disable(args) => (&args.server, enable(&args.access_key, false), key_text),
        KeyCommand::Enable(args) => (&args.server, enable(&args.access_key, true), key_text),
        KeyCommand::Remove(args) => {
            (&args.server, json!({ "key_remove": { "access_key": args.access_key } }), removed_text)
        }
    })
}

/// Does what the command line says about policies.
///
/// # Errors
/// Fails with what the server says is wrong, or when none answers, or when the policy can not be read.
pub fn policy(args: &PolicyArgs) -> Result<(), IdentityCliError> {
    let attach = |name: &str, holder: &Holder, boundary: bool, attached: bool| {
        let mut body = held(name, holder);
        body["boundary"] = json!(boundary);
        body["attached"] = json!(attached);
        json!({ "policy_attach": body })
    };
    match &args.command {
        PolicyCommand::Put(PolicyPutArgs { name, file, holder }) => {
            let mut body = held(name, holder);
            body["document"] = json!(read(file)?);
            ask((&holder.place.server, json!({ "policy_put": body }), put_text))
        }
        PolicyCommand::Attach(PolicyAttachArgs { name, holder, boundary }) => {
            ask((&holder.place.server, attach(name, holder, *boundary, true), put_text))
        }
        PolicyCommand::Detach(PolicyDetachArgs { name, holder, boundary }) => {
            ask((&holder.place.server, attach(name, holder, *boundary, false), put_text))
        }
        PolicyCommand::List(PolicyListArgs { place }) => {
            ask((&place.server, json!({ "policy_list": { "account": place.account } }), policies_text))
        }
        PolicyCommand::Show(PolicyShowArgs { name, holder }) => {
            ask((&holder.place.server, json!({ "policy_show": held(name, holder) }), policy_text))
        }
        PolicyCommand::Remove(PolicyRemoveArgs { name, holder }) => {
            ask((&holder.place.server, json!({ "policy_remove": held(name, holder) }), removed_text))
        }
        PolicyCommand::Explain(args) => {
            let (server, account) = (&args.place.server, &args.place.account);
            let body = json!({
                "user": args.by, "account": account, "action": args.action, "resource": args.resource,
            });
            let value = server.client()?.ask("POST", "identity/explain", Some(&body))?;
            server.show(&value, explain_text);
            Ok(())
        }
    }
}

fn held(name: &str, holder: &Holder) -> Value {
    json!({ "name": name, "user": holder.user, "group": holder.group, "account": holder.place.account })
}

fn read(path: &Path) -> Result<String, IdentityCliError> {
    let text = match path.to_str() {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().lock().read_to_string(&mut text).map(|_| text)
        }
        _ => std::fs::read_to_string(path),
    };
    text.map_err(|source| IdentityCliError::Policy { path: path.to_owned(), source })
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(values) if values.is_empty() => "-".to_owned(),
        Value::Array(values) => values.iter().map(word).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let pairs = fields.iter().map(|(name, value)| format!("{name} {}", word(value)));
            pairs.collect::<Vec<_>>().join(", ")
        }
        other @ Value::Number(_) => other.to_string(),
    }
}

fn day(ms: &Value) -> String {
    ms.as_u64().map_or_else(|| "-".to_owned(), |ms| date::utc(ms / 1000).date().to_string())
}

fn time(s: &Value) -> String {
    s.as_u64().map_or_else(|| "never".to_owned(), |s| date::text(s) + " UTC")
}

fn rows(value: &Value, list: &str, titles: &[&str], row: impl Fn(&Value) -> Vec<String>) -> String {
    let mut rows = vec![titles.iter().map(|title| (*title).to_owned()).collect()];
    rows.extend(value[list].as_array().into_iter().flatten().map(row));
    table(&rows, &[])
}

/// Shows every field on a line of its own.
fn fields_text(value: &Value) -> String {
    let fields = value.as_object().into_iter().flatten();
    let rows: Vec<Vec<String>> = fields
        .map(|(name, value)| match name.strip_suffix("_ms") {
            Some(name) => vec![name.to_owned(), day(value)],
            None => vec![name.replace('_', " "), word(value)],
        })
        .collect();
    table(&rows, &[])
}

fn removed_text(value: &Value) -> String {
    if value["removed"].is_null() {
        put_text(value)
    } else {
        format!("{}: removed\n", word(&value["removed"]))
    }
}

fn accounts_text(value: &Value) -> String {
    rows(value, "accounts", &["NAME", "ID", "CANONICAL ID", "ROOT", "MADE"], |account| {
        let made = if account["has_node_root"] == true { "-".to_owned() } else { day(&account["made_ms"]) };
        let root = if account["has_node_root"] == true { "of the node" } else { "" };
        let [name, id, canonical] = ["name", "id", "canonical_id"].map(|field| word(&account[field]));
        vec![name, id, canonical, root.to_owned(), made]
    })
}

fn users_text(value: &Value) -> String {
    rows(value, "users", &["NAME", "ENABLED", "KEYS", "GROUPS", "POLICIES", "MADE"], |user| {
        vec![
            word(&user["name"]),
            word(&user["enabled"]),
            word(&user["keys"]),
            word(&user["groups"]),
            policy_names(&user["policies"]),
            day(&user["made_ms"]),
        ]
    })
}

fn policy_names(policies: &Value) -> String {
    let all = ["attached", "inline"].map(|kind| policies[kind].as_array().cloned().unwrap_or_default());
    word(&Value::Array(all.concat()))
}

fn user_text(user: &Value) -> String {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let head = table(
        &[
            row("name", word(&user["name"])),
            row("arn", word(&user["arn"])),
            row("id", word(&user["id"])),
            row("enabled", word(&user["enabled"])),
            row("made", day(&user["made_ms"])),
            row("groups", word(&user["groups"])),
            row("managed policies", word(&user["policies"]["attached"])),
            row("own policies", word(&user["policies"]["inline"])),
            row("boundary", word(&user["boundary"])),
        ],
        &[],
    );
    let has_keys = user["keys"].as_array().is_some_and(|keys| !keys.is_empty());
    if has_keys { format!("{head}\n{}", keys_text(user)) } else { head }
}

fn groups_text(value: &Value) -> String {
    rows(value, "groups", &["NAME", "USERS", "POLICIES", "MADE"], |group| {
        let users = group["members"].as_array().map_or(0, Vec::len).to_string();
        vec![word(&group["name"]), users, policy_names(&group["policies"]), day(&group["made_ms"])]
    })
}

fn keys_text(value: &Value) -> String {
    rows(value, "keys", &["ACCESS KEY", "USER", "ENABLED", "LAST USED", "MADE"], |key| {
        let user = if key["is_root"] == true { "(root)".to_owned() } else { word(&key["user"]) };
        let made = if key["is_node_root"] == true { "-".to_owned() } else { day(&key["made_ms"]) };
        vec![word(&key["access_key"]), user, word(&key["enabled"]), time(&key["last_used_s"]), made]
    })
}

fn key_text(key: &Value) -> String {
    keys_text(&json!({ "keys": [key] }))
}

fn new_key_text(key: &Value) -> String {
    let row = |name: &str, field: &str| vec![name.to_owned(), word(&key[field])];
    let shown = table(&[row("access key", "access_key"), row("secret key", "secret_key")], &[]);
    format!("{shown}The secret is shown this once.\n")
}

fn put_text(value: &Value) -> String {
    match (value["document"].is_null(), value["members"].is_null()) {
        (false, _) => format!("{}: put\n", word(&value["name"])),
        (true, false) => fields_text(value),
        (true, true) => user_text(value),
    }
}

fn policies_text(value: &Value) -> String {
    rows(value, "policies", &["NAME", "BUILT IN", "ATTACHED TO"], |policy| {
        vec![word(&policy["name"]), word(&policy["built_in"]), holders(&policy["attached_to"])]
    })
}

fn holders(value: &Value) -> String {
    let name = |holder: &Value| match (&holder["group"], holder["as_boundary"] == true) {
        (Value::Null, false) => word(&holder["user"]),
        (Value::Null, true) => format!("{} (boundary)", word(&holder["user"])),
        (group, _) => format!("group {}", word(group)),
    };
    let names: Vec<String> = value.as_array().into_iter().flatten().map(name).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

fn policy_text(value: &Value) -> String {
    format!("{:#}\n", value["document"])
}

fn explain_text(value: &Value) -> String {
    let verdict = if value["allowed"] == true { "allowed" } else { "denied" };
    let there = if value["bucket_exists"] == true { "" } else { " (there is no such bucket)" };
    format!("{verdict}: {}{there}\n", word(&value["reason"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_who_has_what() {
        let key = json!({
            "access_key": "AK", "user": "alice", "is_root": false, "is_node_root": false, "enabled": true,
            "made_ms": 951_782_400_000_u64, "last_used_s": null,
        });
        let user = json!({
            "name": "alice", "arn": "arn", "id": "ID", "enabled": false, "made_ms": 951_782_400_000_u64,
            "groups": ["a", "b"], "policies": { "attached": ["readonly"], "inline": [] }, "boundary": null,
            "keys": [key],
        });
        let text = user_text(&user);
        assert!(
            text.contains("groups            a, b\n") && text.contains("enabled           no\n"),
            "{text}"
        );
        assert!(text.contains("AK          alice  yes      never      2000-02-29\n"), "{text}");
        let list = json!({ "policies": [{
            "name": "p", "built_in": false,
            "attached_to": [{ "user": "alice", "as_boundary": true }, { "group": "g" }],
        }] });
        assert!(policies_text(&list).contains("alice (boundary), group g"), "{}", policies_text(&list));
        let why = json!({ "allowed": false, "reason": "nothing allows it", "bucket_exists": true });
        assert_eq!(explain_text(&why), "denied: nothing allows it\n");
        let new = json!({ "access_key": "AK", "secret_key": "S" });
        assert!(new_key_text(&new).contains("secret key  S\n"));
    }
}
