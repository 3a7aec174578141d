//! The configuration file of `serve`: its keys are the flags of that command.
//!
//! Invariants:
//! - There is one table of what can be set, that of clap: a flag that is added can be written in the file, is
//!   documented by `ringbolt config show --defaults`, and is checked by the same parser.
//! - A flag of the command line counts more than a variable of the environment, and that more than the file.
//! - Nothing in a file is passed over: a key that nobody knows, or that can not stand there, is an error, and all
//!   errors of a file are told at once.

use super::{Cli, Command, ServeArgs, serve_options};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Subcommand};
use ringbolt_tool_common::nearest::nearest;
use ringbolt_tool_common::text::wrapped;
use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Flags that say where settings come from, or what is done once.
const NOT_IN_FILES: [&str; 5] = ["config", "new-node-key", "without-drive", "help", "version"];
/// The widest line of comments that `config show` writes.
const WIDTH: usize = 100;

/// Show and check the configuration of the server
///
/// Every flag of `ringbolt serve` can be written in a file of TOML, without its dashes; `ringbolt serve --config FILE`
/// reads it. Flags count more than variables of the environment (RINGBOLT_LISTEN for --listen), and these more than the
/// file.
#[derive(Args)]
#[command(after_help = "Examples:
  ringbolt config show --defaults > ringbolt.toml   every key with what it means; all are commented out
  ringbolt config check ringbolt.toml               whether a server would take it
  ringbolt config show ringbolt.toml                what holds, and where it comes from
  ringbolt serve --config ringbolt.toml             SIGHUP has the server read it again")]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Show what holds, and where it comes from
    Show {
        /// The configuration file
        #[arg(env = "RINGBOLT_CONFIG", value_name = "FILE")]
        file: Option<PathBuf>,
        /// Show every key that there is with its meaning and its default, as a file to begin with
        #[arg(long)]
        defaults: bool,
    },
    /// Say whether a server would take the file, with the environment as it is
    Check {
        /// The configuration file
        #[arg(env = "RINGBOLT_CONFIG", value_name = "FILE")]
        file: PathBuf,
    },
}

/// The reason why a configuration can not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("can not read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} can not be used:\n{}", path.display(), problems.join("\n"))]
    Wrong { path: PathBuf, problems: Vec<String> },
    #[error("{0}")]
    Environment(String),
}

/// One key of a file.
#[derive(Debug)]
struct Setting {
    key: String,
    line: usize,
    /// The values as a command line would have them.
    values: Vec<String>,
    is_list: bool,
}

/// What a file says.
#[derive(Debug)]
struct ConfigFile {
    path: PathBuf,
    settings: Vec<Setting>,
}

impl ConfigFile {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        parse(&text)
            .map(|settings| Self { path: path.to_owned(), settings })
            .map_err(|problems| ConfigError::Wrong { path: path.to_owned(), problems })
    }

    /// Returns the command with what the file says in place of its defaults.
    fn apply(&self, mut command: clap::Command) -> Result<clap::Command, ConfigError> {
        // The environment is not what is judged here.
        let without_environment =
            |command: clap::Command| command.mut_args(|arg| arg.env(None::<&'static str>));
        let judge = without_environment(command.clone()).mut_subcommand("serve", without_environment);
        let mut problems = Vec::new();
        for setting in &self.settings {
            if let Err(problem) = judged(&judge, setting) {
                problems.push(format!("  line {}: {problem}", setting.line));
                continue;
            }
            let values = setting.values.iter().map(|value| clap::builder::OsStr::from(value.clone()));
            let values: Vec<_> = values.collect();
            command = match find(&command, &setting.key) {
                Some((true, id)) => command.mut_arg(id, |arg| arg.default_values(values)),
                Some((false, id)) => command
                    .mut_subcommand("serve", |serve| serve.mut_arg(id, |arg| arg.default_values(values))),
                None => command,
            };
        }
        if problems.is_empty() {
            return Ok(command);
        }
        Err(ConfigError::Wrong { path: self.path.clone(), problems })
    }
}

/// Returns what the text says.
fn parse(text: &str) -> Result<Vec<Setting>, Vec<String>> {
    let line_of = |at: usize| text[..at.min(text.len())].matches('\n').count() + 1;
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(span.start));
        vec![format!("  line {line}: {}", error.message())]
    })?;
    let (mut settings, mut problems) = (Vec::new(), Vec::new());
    for (key, value) in table.into_inner() {
        let line = line_of(key.span().start);
        let key = key.into_inner().into_owned();
        let value = value.into_inner();
        let is_list = matches!(value, DeValue::Array(_));
        match values_of(&value) {
            Ok(values) => settings.push(Setting { key, line, values, is_list }),
            Err(problem) => problems.push(format!("  line {line}: {key}: {problem}")),
        }
    }
    settings.sort_by_key(|setting| setting.line);
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

fn values_of(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let one = |value: &DeValue<'_>| match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Table(_) => Err("keys stand at the top of the file, and not in sections".to_owned()),
        _ => Err("write a text in quotes, a number, true or false, or a list of texts".to_owned()),
    };
    match value {
        DeValue::Array(values) => values.iter().map(|value| one(value.get_ref())).collect(),
        value => Ok(vec![one(value)?]),
    }
}

/// Returns the id of a flag, and whether it is one of all commands.
fn find(command: &clap::Command, key: &str) -> Option<(bool, String)> {
    let id = |command: &clap::Command| {
        let found = command.get_arguments().find(|arg| arg.get_long() == Some(key));
        found.map(|arg| arg.get_id().to_string())
    };
    let serve = command.find_subcommand("serve")?;
    id(command).map(|id| (true, id)).or_else(|| id(serve).map(|id| (false, id)))
}

/// Returns all flags that a file may set.
fn settable(command: &clap::Command) -> Vec<&Arg> {
    let serve = command.find_subcommand("serve");
    let all = serve.into_iter().flat_map(clap::Command::get_arguments).chain(command.get_arguments());
    all.filter(|arg| arg.get_long().is_some_and(|long| !NOT_IN_FILES.contains(&long))).collect()
}

/// Judges one key as the command line would judge its flag.
fn judged(judge: &clap::Command, setting: &Setting) -> Result<(), String> {
    let Setting { key, values, .. } = setting;
    let known = settable(judge);
    let Some(arg) = known.iter().find(|arg| arg.get_long() == Some(key)) else {
        if NOT_IN_FILES.contains(&key.as_str()) {
            return Err(format!("{key} is for the command line alone"));
        }
        let name = key.replace('_', "-");
        let hint = match nearest(&name, known.iter().filter_map(|arg| arg.get_long())) {
            Some(near) => format!("; did you mean {near}?"),
            None => "; `ringbolt config show --defaults` has all of them".to_owned(),
        };
        return Err(format!("there is no key {key}{hint}"));
    };
    if setting.is_list && !matches!(arg.get_action(), ArgAction::Append) {
        return Err(format!("{key} has one value, and not a list"));
    }
    let line: Vec<OsString> = match arg.get_action() {
        ArgAction::SetTrue => match values.first().map(String::as_str) {
            Some("true") => vec![format!("--{key}").into()],
            Some("false") => Vec::new(),
            _ => return Err(format!("{key}: write true or false")),
        },
        _ => values.iter().map(|value| format!("--{key}={value}").into()).collect(),
    };
    let start = ["ringbolt", "serve"].map(OsString::from);
    let Err(error) = judge.clone().try_get_matches_from(start.into_iter().chain(line)) else { return Ok(()) };
    match error.kind() {
        ErrorKind::InvalidValue => {
            let words = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(words)) => words.join(", "),
                _ => "another value".to_owned(),
            };
            Err(format!("{key} = {:?}: write one of: {words}", values.join(",")))
        }
        ErrorKind::ValueValidation => {
            let reason = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            Err(format!("{key} = {:?}: {reason}", values.join(",")))
        }
        // A flag that another one needs may be given elsewhere.
        _ => Ok(()),
    }
}

/// Parses the command line, with the configuration file that it names. A command line that is not understood ends the
/// process, as clap does it.
///
/// # Errors
/// Fails when the file can not be used.
pub fn parse_line() -> Result<(Cli, Settings), ConfigError> {
    let line: Vec<OsString> = std::env::args_os().collect();
    let (matches, _) = with_file_of(&line, |command, line| Ok(command.get_matches_from(line)))?;
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    Ok((cli, Settings::of(line, &matches)))
}

/// Parses a command line by `get`, and once more with what the file says that it names, which is returned too.
fn with_file_of(
    line: &[OsString],
    get: impl Fn(clap::Command, &[OsString]) -> Result<ArgMatches, ConfigError>,
) -> Result<(ArgMatches, Option<ConfigFile>), ConfigError> {
    let matches = get(Cli::command(), line)?;
    let serve = matches.subcommand_matches("serve");
    let Some(path) = serve.and_then(|serve| serve.get_one::<PathBuf>("config")) else {
        return Ok((matches, None));
    };
    let file = ConfigFile::read(path)?;
    Ok((get(file.apply(Cli::command())?, line)?, Some(file)))
}

/// The settings of a server that runs, by which those that are read again are compared.
pub struct Settings {
    line: Vec<OsString>,
    /// Those that the server started with.
    started: Values,
    /// Those that it has now, as far as they count at once.
    current: Values,
}

type Values = Vec<(String, Vec<OsString>)>;

/// What was read again, and is to be [kept](Settings::keep) once it counts.
pub struct Again {
    pub cli: Cli,
    /// The keys whose values are others than those that were read last.
    pub changed: Vec<String>,
    /// The keys whose values are others than those that the server started with.
    pub since_start: Vec<String>,
    values: Values,
}

/// Returns the keys whose values are others than in `before`.
fn changes(values: &Values, before: &Values) -> Vec<String> {
    let is_same = |entry: &&(String, Vec<OsString>)| before.contains(entry);
    values.iter().filter(|entry| !is_same(entry)).map(|(key, _)| key.clone()).collect()
}

impl Settings {
    /// Returns the settings that a command line was parsed to.
    fn of(line: Vec<OsString>, matches: &ArgMatches) -> Self {
        let started = values(matches);
        Self { line, current: started.clone(), started }
    }

    /// Takes note of what counts now.
    pub fn keep(&mut self, again: Again) {
        self.current = again.values;
    }

    /// Reads the configuration file again.
    ///
    /// # Errors
    /// Fails when the file can not be used.
    pub fn read_again(&self) -> Result<Again, ConfigError> {
        let (matches, _) = again(&self.line)?;
        let values = values(&matches);
        let cli = cli_of(&matches)?;
        let (changed, since_start) = (changes(&values, &self.current), changes(&values, &self.started));
        Ok(Again { cli, changed, since_start, values })
    }
}

fn again(line: &[OsString]) -> Result<(ArgMatches, Option<ConfigFile>), ConfigError> {
    with_file_of(line, |command, line| {
        command.try_get_matches_from(line).map_err(|error| ConfigError::Environment(error.to_string()))
    })
}

fn cli_of(matches: &ArgMatches) -> Result<Cli, ConfigError> {
    Cli::from_arg_matches(matches).map_err(|error| ConfigError::Environment(error.to_string()))
}

/// Returns the values of all flags that a file may set.
fn values(matches: &ArgMatches) -> Values {
    let Some(serve) = matches.subcommand_matches("serve") else { return Vec::new() };
    let command = Cli::command();
    let raw = |arg: &Arg| raw_of(serve, arg).into_iter().map(ToOwned::to_owned).collect();
    let named = |arg: &Arg| (arg.get_long().unwrap_or_default().to_owned(), raw(arg));
    settable(&command).into_iter().map(named).collect()
}

fn raw_of<'a>(serve: &'a ArgMatches, arg: &Arg) -> Vec<&'a std::ffi::OsStr> {
    serve.get_raw(arg.get_id().as_str()).map(Iterator::collect).unwrap_or_default()
}

/// Does what `ringbolt config` is asked for.
///
/// # Errors
/// Fails when the file, the environment, or what they name can not be used.
pub fn run(args: &ConfigArgs) -> Result<(), super::CliError> {
    match &args.command {
        ConfigCommand::Show { defaults: true, .. } => print!("{}", documented(&Cli::command())),
        ConfigCommand::Show { file, .. } => print!("{}", effective(file.as_deref())?),
        ConfigCommand::Check { file } => {
            let (matches, read) = of_server(Some(file))?;
            let cli = cli_of(&matches)?;
            super::log_filter(&cli.log)?;
            let Command::Serve(serve) = cli.command else { return Ok(()) };
            check(*serve)?;
            let count = read.map_or(0, |read| read.settings.len());
            println!("{}: {count} {}, and a server would take them", file.display(), keys(count));
        }
    }
    Ok(())
}

fn check(args: ServeArgs) -> Result<(), super::CliError> {
    ringbolt_server::run::check(&serve_options(args)?)?;
    Ok(())
}

fn keys(count: usize) -> &'static str {
    if count == 1 { "key" } else { "keys" }
}

/// Returns what a server would have with this file and the environment as it is.
fn of_server(file: Option<&Path>) -> Result<(ArgMatches, Option<ConfigFile>), ConfigError> {
    let mut line = vec![OsString::from("ringbolt"), OsString::from("serve")];
    if let Some(path) = file {
        line.extend([OsString::from("--config"), path.into()]);
    }
    again(&line)
}

/// Returns all keys with their values, and where these come from.
fn effective(file: Option<&Path>) -> Result<String, ConfigError> {
    let (matches, file) = of_server(file)?;
    let settings = file.map_or_else(Vec::new, |file| file.settings);
    let Some(serve) = matches.subcommand_matches("serve") else { return Ok(String::new()) };
    let command = Cli::command();
    let mut lines = Vec::new();
    for arg in settable(&command) {
        let key = arg.get_long().unwrap_or_default();
        let source = match serve.value_source(arg.get_id().as_str()) {
            Some(ValueSource::EnvVariable) => "environment",
            _ if settings.iter().any(|setting| setting.key == key) => "file",
            _ => "default",
        };
        let raw: Vec<String> =
            raw_of(serve, arg).into_iter().map(|value| value.to_string_lossy().into_owned()).collect();
        if !raw.is_empty() {
            lines.push((format!("{key} = {}", written(arg, &raw)), source));
        }
    }
    let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0);
    Ok(lines.iter().map(|(line, source)| format!("{line:<width$}  # {source}\n")).collect())
}

/// Returns the values of a flag as TOML.
fn written(arg: &Arg, values: &[String]) -> String {
    let one = |value: &String| {
        let is_bare = value == "true" || value == "false" || value.parse::<u64>().is_ok();
        if is_bare { value.clone() } else { toml::Value::from(value.as_str()).to_string() }
    };
    if !matches!(arg.get_action(), ArgAction::Append) {
        return values.first().map(one).unwrap_or_default();
    }
    let split = values.iter().flat_map(|value| value.split(',')).map(str::to_owned);
    format!("[{}]", split.map(|value| one(&value)).collect::<Vec<_>>().join(", "))
}

/// Returns a file that documents all keys and sets none.
fn documented(command: &clap::Command) -> String {
    let mut text = String::from(
        "# The configuration of a Ringbolt server: `ringbolt serve --config FILE`.\n\
         # Everything here is as it is without a file. Remove the # before a key to set it. A flag of the\n\
         # same name counts more, and so does a variable of the environment: RINGBOLT_LISTEN for listen.\n",
    );
    for arg in settable(command) {
        text.push('\n');
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let choices: Vec<String> =
            arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
        let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
        let choices = if choices.is_empty() || is_switch {
            String::new()
        } else {
            format!(" ({})", choices.join(", "))
        };
        for line in wrapped(&format!("{help}{choices}"), WIDTH - 2) {
            text.push_str(&format!("# {line}\n"));
        }
        let defaults: Vec<String> =
            arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        let key = arg.get_long().unwrap_or_default();
        let name = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
        let value = match (defaults.as_slice(), is_switch) {
            (_, true) => "false".to_owned(),
            ([], false) if matches!(arg.get_action(), ArgAction::Append) => format!("[\"{name}\"]"),
            ([], false) => format!("\"{name}\""),
            (defaults, false) => written(arg, defaults),
        };
        text.push_str(&format!("# {key} = {value}\n"));
    }
    text
}

#[cfg(test)]
mod tests;
