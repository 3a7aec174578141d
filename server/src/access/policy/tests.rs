use super::testing::{BUCKET, Said, account, bucket_policy, identity_policy, user};
use super::*;
use std::sync::Arc;

fn bob() -> Principal {
    Principal::User(Arc::new(user("111122223333", "/team/", "bob")))
}

fn parse_bucket(text: &str) -> Result<Policy, PolicyError> {
    Policy::parse(text.as_bytes(), PolicyKind::Bucket { name: BUCKET })
}

fn parse_identity(text: &str) -> Result<Policy, PolicyError> {
    Policy::parse(text.as_bytes(), PolicyKind::Identity)
}

/// What a policy says of a GET of `bucket/key` by bob, by a request that says `pairs`.
fn judged<'a>(policy: &'a Policy, pairs: &[(&str, &str)]) -> Verdict<'a> {
    let (principal, context) = (bob(), Said::new(pairs));
    let (action, resource) = (Action::GetObject, "bucket/key");
    policy.judge(&Question { principal: &principal, action, resource, context: &context })
}

/// A policy of one statement for all that bob may ask, under a condition.
fn with_condition(effect: &str, condition: &str) -> String {
    format!(
        r#"{{"Version": "2012-10-17", "Statement": {{"Effect": "{effect}", "Action": "s3:*", "Resource": "*",
            "Condition": {condition}}}}}"#
    )
}

/// Whether a condition holds for a request, for a statement with either effect.
fn holds_for(effect: &str, condition: &str, pairs: &[(&str, &str)]) -> bool {
    let text = with_condition(effect, condition);
    judged(&identity_policy(&text), pairs) != Verdict::Nothing
}

/// Whether a condition holds; it is the same for both effects.
fn holds(condition: &str, pairs: &[(&str, &str)]) -> bool {
    let allow = holds_for("Allow", condition, pairs);
    assert_eq!(allow, holds_for("Deny", condition, pairs), "{condition}");
    allow
}

/// The operators of the reference: condition, key, a value for which it holds, and one for which not.
#[test]
fn operators_hold_as_the_reference_says() {
    for (operator, key, wanted, holding, failing) in [
        ("StringEquals", "s3:prefix", r#""a""#, "a", "A"),
        ("StringEquals", "s3:prefix", r#"["a", "b*"]"#, "b*", "bc"),
        ("StringNotEquals", "s3:prefix", r#"["a", "b"]"#, "c", "b"),
        ("StringEqualsIgnoreCase", "s3:prefix", r#""aÉ""#, "Aé", "ae"),
        ("StringNotEqualsIgnoreCase", "s3:prefix", r#""a""#, "b", "A"),
        ("StringLike", "s3:prefix", r#""home/?ob/*""#, "home/bob/x", "home/b/x"),
        ("StringNotLike", "s3:prefix", r#""home/*""#, "away", "home/"),
        ("StringEquals", "s3:prefix", r#""${aws:username}""#, "bob", "${aws:username}"),
        ("NumericEquals", "s3:max-keys", r#"["10", "20"]"#, "20", "15"),
        ("NumericEquals", "s3:max-keys", "10", "10.0", "1"),
        ("NumericNotEquals", "s3:max-keys", r#""10""#, "11", "10"),
        ("NumericLessThan", "s3:max-keys", r#""10""#, "9", "10"),
        ("NumericLessThanEquals", "s3:max-keys", r#""10""#, "10", "11"),
        ("NumericGreaterThan", "s3:signatureAge", r#""600000""#, "600001", "600000"),
        ("NumericGreaterThanEquals", "s3:TlsVersion", r#""1.2""#, "1.2", "1.1"),
        ("NumericLessThan", "s3:max-keys", r#""10""#, "-1", "many"),
        ("NumericNotEquals", "s3:max-keys", r#""10""#, "many", "10"),
        ("NumericLessThan", "aws:EpochTime", r#""100""#, "99", "101"),
        ("DateEquals", "aws:CurrentTime", r#""2026-01-01""#, "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"),
        ("DateNotEquals", "aws:CurrentTime", r#""2026-01-01""#, "2026-01-02", "2026-01-01"),
        (
            "DateLessThan",
            "aws:CurrentTime",
            r#""2026-01-01T00:00:00Z""#,
            "2025-12-31T23:59:59Z",
            "2026-01-01",
        ),
        ("DateLessThanEquals", "aws:CurrentTime", r#""2026-01-01""#, "2026-01-01", "2026-01-02"),
        ("DateGreaterThan", "aws:EpochTime", r#""1970-01-01T00:01:00Z""#, "61", "60"),
        ("DateGreaterThanEquals", "aws:EpochTime", r#""60""#, "60", "59"),
        ("Bool", "aws:SecureTransport", r#""true""#, "TRUE", "false"),
        ("Bool", "aws:SecureTransport", "false", "false", "true"),
        ("BinaryEquals", "s3:x-amz-acl", r#""cHJpdmF0ZQ==""#, "private", "cHJpdmF0ZQ=="),
        ("IpAddress", "aws:SourceIp", r#"["203.0.113.0/24", "2001:db8::/32"]"#, "2001:db8::1", "203.0.114.1"),
        ("NotIpAddress", "aws:SourceIp", r#""203.0.113.0/24""#, "203.0.114.1", "203.0.113.1"),
        ("StringEquals", "s3:ExistingObjectTag/Team", r#""a""#, "a", "b"),
    ] {
        let condition = format!(r#"{{"{operator}": {{"{key}": {wanted}}}}}"#);
        assert!(holds(&condition, &[(key, holding)]), "{condition} does not hold for {holding:?}");
        assert!(!holds(&condition, &[(key, failing)]), "{condition} holds for {failing:?}");
    }
}

#[test]
fn arns_are_compared_component_by_component() {
    for (operator, wanted, expected) in [
        ("ArnEquals", "arn:aws:iam::111122223333:user/team/bob", true),
        ("ArnLike", "arn:aws:iam::*:user/team/*", true),
        ("ArnEquals", "arn:aws:iam::1111?2223333:user/*", true),
        ("ArnLike", "*", true),
        ("ArnLike", "arn:*:user/team/bob", false),
        ("ArnLike", "arn:aws:s3:*:*:*", false),
        ("ArnLike", "arn:aws:iam::111122223333:user/team/${aws:username}", true),
        ("ArnNotLike", "arn:aws:iam::111122223333:user/*", false),
        ("ArnNotEquals", "arn:aws:iam::444455556666:*", true),
    ] {
        let condition = format!(r#"{{"{operator}": {{"aws:PrincipalArn": "{wanted}"}}}}"#);
        if wanted.starts_with("arn:*:user") {
            assert!(parse_identity(&with_condition("Allow", &condition)).is_err(), "too few components");
        } else {
            assert_eq!(holds(&condition, &[]), expected, "{condition}");
        }
    }
}

#[test]
fn operators_and_keys_are_all_needed_and_of_values_one() {
    let both = r#"{"StringEquals": {"s3:prefix": ["a", "b"], "s3:delimiter": "/"},
        "Bool": {"aws:SecureTransport": true}}"#;
    let said = [("s3:prefix", "b"), ("s3:delimiter", "/"), ("aws:SecureTransport", "true")];
    assert!(holds(both, &said));
    for missing in 0..said.len() {
        let mut fewer = said.to_vec();
        fewer.remove(missing);
        assert!(!holds(both, &fewer), "without {:?}", said[missing]);
    }
    assert!(holds("{}", &[]), "a condition without operators asks for nothing");
}

/// Trap: a Deny for all who are not of some network holds for a request whose address is not known.
#[test]
fn a_missing_key_does_not_defeat_a_deny() {
    for (condition, expected) in [
        (r#"{"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}"#, true),
        (r#"{"StringNotEquals": {"s3:x-amz-acl": "private"}}"#, true),
        (r#"{"StringNotLike": {"aws:Referer": "https://example.com/*"}}"#, true),
        (r#"{"StringNotEqualsIgnoreCase": {"s3:prefix": "a"}}"#, true),
        (r#"{"NumericNotEquals": {"s3:max-keys": "1"}}"#, true),
        (r#"{"DateNotEquals": {"aws:CurrentTime": "2026-01-01"}}"#, true),
        (r#"{"ArnNotLike": {"aws:SourceArn": "arn:aws:s3:::*"}}"#, true),
        (r#"{"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}"#, true),
        (r#"{"Null": {"aws:SourceIp": "true"}}"#, true),
        // What is not negated never holds for what is absent.
        (r#"{"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}"#, false),
        (r#"{"StringLike": {"aws:Referer": "*"}}"#, false),
        (r#"{"Bool": {"aws:SecureTransport": "false"}}"#, false),
        (r#"{"NumericLessThan": {"s3:max-keys": "1"}}"#, false),
        (r#"{"Null": {"aws:SourceIp": "false"}}"#, false),
        // Except where the policy says so.
        (r#"{"IpAddressIfExists": {"aws:SourceIp": "203.0.113.0/24"}}"#, true),
        (r#"{"BoolIfExists": {"aws:SecureTransport": "false"}}"#, true),
        (r#"{"StringNotEqualsIfExists": {"s3:x-amz-acl": "private"}}"#, true),
        (r#"{"NumericLessThanIfExists": {"s3:max-keys": "1"}}"#, true),
        (r#"{"ForAnyValue:StringEqualsIfExists": {"s3:RequestObjectTagKeys": "a"}}"#, true),
    ] {
        assert_eq!(holds(condition, &[]), expected, "{condition}");
    }
}

#[test]
fn if_exists_is_the_plain_operator_where_the_key_exists() {
    let condition = r#"{"StringLikeIfExists": {"aws:Referer": "http://www.example.com/*"}}"#;
    assert!(holds(condition, &[("aws:Referer", "http://www.example.com/index.html")]));
    assert!(!holds(condition, &[("aws:Referer", "http://example.com")]));
    assert!(!holds(r#"{"Null": {"s3:prefix": "true"}}"#, &[("s3:prefix", "")]), "an empty value is one");
    assert!(holds(r#"{"Null": {"s3:prefix": ["true", "false"]}}"#, &[]));
}

/// AWS's table of multivalued context keys.
#[test]
fn sets_of_values_hold_as_the_reference_says() {
    let key = "s3:RequestObjectTagKeys";
    let condition = |operator: &str| format!(r#"{{"{operator}": {{"{key}": ["env", "team"]}}}}"#);
    let said = |tags: &[&'static str]| tags.iter().map(|tag| (key, *tag)).collect::<Vec<_>>();
    for (operator, none, within, beyond, outside) in [
        // Tags: none; env and team; env and other; other alone.
        ("ForAllValues:StringEquals", true, true, false, false),
        ("ForAnyValue:StringEquals", false, true, true, false),
        ("ForAllValues:StringNotEquals", true, false, false, true),
        ("ForAnyValue:StringNotEquals", false, false, true, true),
        ("ForAllValues:StringLike", true, true, false, false),
        ("ForAnyValue:StringLikeIfExists", true, true, true, false),
    ] {
        let condition = condition(operator);
        assert_eq!(holds(&condition, &[]), none, "{operator} of none");
        assert_eq!(holds(&condition, &said(&[""])), none, "{operator} of an empty text");
        assert_eq!(holds(&condition, &said(&["env", "team"])), within, "{operator}");
        assert_eq!(holds(&condition, &said(&["env", "other"])), beyond, "{operator}");
        assert_eq!(holds(&condition, &said(&["other"])), outside, "{operator}");
    }
}

/// A header that stands twice: an Allow wants both values to match, and a Deny is content with one.
#[test]
fn several_values_of_a_key_that_has_one_never_allow_more() {
    let twice = [("aws:Referer", "good"), ("aws:Referer", "bad")];
    let condition = r#"{"StringEquals": {"aws:Referer": "good"}}"#;
    assert!(!holds_for("Allow", condition, &twice) && holds_for("Deny", condition, &twice));
    let negated = r#"{"StringNotEquals": {"aws:Referer": "good"}}"#;
    assert!(!holds_for("Allow", negated, &twice) && holds_for("Deny", negated, &twice));
    let variable = r#"{"StringEquals": {"s3:prefix": "${aws:Referer}"}}"#;
    assert!(
        !holds(variable, &[twice[0], twice[1], ("s3:prefix", "good")]),
        "a variable has one value or none"
    );
}

#[test]
fn a_variable_without_a_value_equals_nothing() {
    let said = [("s3:prefix", "")];
    assert!(!holds(r#"{"StringEquals": {"s3:prefix": "${s3:delimiter}"}}"#, &said));
    assert!(!holds(r#"{"StringLike": {"s3:prefix": "${s3:delimiter}*"}}"#, &said));
    assert!(holds(r#"{"StringNotEquals": {"s3:prefix": "${s3:delimiter}"}}"#, &said));
    assert!(holds(r#"{"StringEquals": {"s3:prefix": "${s3:delimiter, ''}"}}"#, &said));
}

fn policy_on(elements: &str) -> Policy {
    identity_policy(&format!(
        r#"{{"Version": "2012-10-17", "Statement": {{"Effect": "Allow", {elements}}}}}"#
    ))
}

#[test]
fn actions_and_resources_name_or_leave_out() {
    for (elements, expected) in [
        (r#""Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/key""#, true),
        (r#""Action": "S3:getOBJECT", "Resource": "*""#, true),
        (r#""Action": "s3:Get*", "Resource": "arn:aws:s3:::bucket/*""#, true),
        (r#""Action": "s3:GetObject?cl", "Resource": "*""#, false),
        (r#""Action": "*", "Resource": "arn:aws:s3:::buck?t/k*y""#, true),
        (
            r#""Action": ["s3:PutObject", "s3:*Object"], "Resource": ["arn:aws:s3:::a", "arn:aws:s3:::bucket/key"]"#,
            true,
        ),
        (r#""Action": "s3:PutObject", "Resource": "*""#, false),
        (r#""NotAction": "s3:PutObject", "Resource": "*""#, true),
        (r#""NotAction": "s3:Get*", "Resource": "*""#, false),
        (r#""NotAction": "iam:*", "Resource": "*""#, true),
        (r#""Action": "s3:*", "Resource": "arn:aws:s3:::bucket""#, false),
        (r#""Action": "s3:*", "Resource": "arn:aws:s3:::Bucket/key""#, false),
        (r#""Action": "s3:*", "NotResource": "arn:aws:s3:::bucket/key""#, false),
        (r#""Action": "s3:*", "NotResource": ["arn:aws:s3:::bucket/other", "arn:aws:s3:::bucket"]"#, true),
        (r#""Action": "s3:*", "Resource": "arn:aws:s3:::bucket/${s3:prefix, 'key'}""#, true),
        (r#""Action": "s3:*", "Resource": "arn:aws:s3:::bucket/${s3:prefix}""#, false),
        (r#""Action": "s3:*", "NotResource": "arn:aws:s3:::bucket/${s3:prefix}""#, true),
        (r#""Action": "iam:GetUser", "Resource": "*""#, false),
        (
            r#""Action": ["iam:*", "s3:GetObject"], "Resource": ["arn:aws:iam:::user/x", "arn:aws:s3:::bucket/*"]"#,
            true,
        ),
        (r#""Action": "s3:*", "Resource": "arn:aws:iam:::user/x""#, false),
    ] {
        assert_eq!(judged(&policy_on(elements), &[]) != Verdict::Nothing, expected, "{elements}");
    }
}

#[test]
fn the_old_version_has_no_variables() {
    for version in [r#""Version": "2008-10-17","#, ""] {
        let text = format!(
            r#"{{{version} "Statement": {{"Effect": "Allow", "Action": "s3:*", "Resource": "*",
                "Condition": {{"StringEquals": {{"s3:prefix": "${{aws:username}}"}}}}}}}}"#
        );
        let policy = identity_policy(&text);
        assert_eq!(judged(&policy, &[("s3:prefix", "bob")]), Verdict::Nothing);
        assert_ne!(judged(&policy, &[("s3:prefix", "${aws:username}")]), Verdict::Nothing);
    }
}

#[test]
fn a_deny_is_found_behind_any_allow_and_named() {
    let policy = identity_policy(
        r#"{"Version": "2012-10-17", "Id": "x", "Statement": [
            {"Sid": "", "Effect": "Allow", "Action": "s3:*", "Resource": "*"},
            {"Sid": "", "Effect": "Allow", "Action": "s3:Get*", "Resource": "*"},
            {"Sid": "Last", "Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*",
             "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
        ]}"#,
    );
    let first = StatementName { number: 1, sid: None };
    assert_eq!(judged(&policy, &[]), Verdict::Allows(first, Named::Itself));
    let last = StatementName { number: 3, sid: Some("Last") };
    assert_eq!(judged(&policy, &[("aws:SecureTransport", "false")]), Verdict::Denies(last));
}

#[test]
fn an_allow_that_names_the_user_goes_before_one_that_names_its_account() {
    let policy = bucket_policy(
        r#"{"Statement": [
            {"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "s3:*", "Resource": "*"},
            {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:user/team/bob"},
             "Action": "s3:*", "Resource": "*"},
            {"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "s3:*", "Resource": "*"}
        ]}"#,
    );
    assert_eq!(judged(&policy, &[]), Verdict::Allows(StatementName { number: 2, sid: None }, Named::Itself));
}

/// Elements of a bucket policy's statement, of which each is wrong.
#[test]
fn what_is_not_understood_is_refused_with_its_place() {
    let all = r#""Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*""#;
    for (statement, element) in [
        (r#""a""#.to_owned(), "Statement"),
        ("{}".to_owned(), "Effect"),
        (format!("{{{}}}", all.replace("Allow", "allow")), "Effect"),
        (format!("{{{}}}", all.replace(r#""Allow""#, "true")), "Effect"),
        (format!("{{{}}}", all.replace(r#""Principal": "*","#, "")), "Principal"),
        (format!("{{{}}}", all.replace("Principal", "NotPrincipal")), "NotPrincipal"),
        (format!(r#"{{{all}, "NotPrincipal": {{"AWS": "111122223333"}}}}"#), "NotPrincipal"),
        (format!("{{{}}}", all.replace(r#""Action": "s3:*","#, "")), "Action"),
        (format!("{{{}}}", all.replace("s3:*", "s3:GetObjct")), "Action"),
        (format!("{{{}}}", all.replace("s3:*", "s3:Xyz*")), "Action"),
        (format!("{{{}}}", all.replace("s3:*", "iam:*")), "Action"),
        (format!("{{{}}}", all.replace("s3:*", "*:GetObject")), "Action"),
        (format!("{{{}}}", all.replace("s3:*", "GetObject")), "Action"),
        (format!("{{{}}}", all.replace(r#""s3:*""#, "[]")), "Action"),
        (format!("{{{}}}", all.replace(r#""s3:*""#, "[[\"s3:*\"]]")), "Action"),
        (format!("{{{}}}", all.replace(r#""s3:*""#, "null")), "Action"),
        (format!(r#"{{{all}, "NotAction": "s3:*"}}"#), "NotAction"),
        (format!("{{{}}}", all.replace(r#", "Resource": "*""#, "")), "Resource"),
        (format!(r#"{{{all}, "NotResource": "*"}}"#), "NotResource"),
        (format!(r#"{{{all}, "Comment": "x"}}"#), "Comment"),
        (format!(r#"{{{all}, "condition": {{}}}}"#), "condition"),
        (format!(r#"{{{all}, "Sid": 7}}"#), "Sid"),
        (format!(r#"{{{all}, "Sid": "a\nb"}}"#), "Sid"),
        (format!(r#"{{{all}, "Sid": "{}"}}"#, "s".repeat(129)), "Sid"),
        (format!(r#"{{{all}, "Condition": []}}"#), "Condition"),
    ] {
        let error = parse_bucket(&format!(r#"{{"Statement": [{{{all}}}, {statement}]}}"#)).unwrap_err();
        let PolicyError::Statement { number: 2, element: found, problem } = &error else {
            panic!("{error}: {statement}")
        };
        assert_eq!(found, element, "{statement}");
        assert!(!problem.is_empty());
        assert!(error.to_string().starts_with(&format!("statement 2, {element}: ")), "{error}");
    }
}

#[test]
fn resources_that_are_not_understood_are_refused() {
    for (resource, of_bucket, of_identity) in [
        ("arn:aws:s3:::bucket/*", true, true),
        ("arn:aws:s3:::*", true, true),
        ("*", true, true),
        ("arn:aws:s3:::other/*", false, true),
        ("arn:aws:s3:::bucket2", false, true),
        ("arn:aws:s3::tenant:bucket", false, false),
        ("arn:aws:s3:us-east-1:111122223333:accesspoint/a", false, false),
        ("arn:aws:iam::111122223333:user/a", false, true),
        ("arn:aws:*:::bucket", false, false),
        ("arn:aws:s3:::", false, false),
        ("arn:aws:s3:bucket", false, false),
        ("bucket/*", false, false),
        ("", false, false),
        ("arn:aws:s3:::bucket/${unknown}", false, false),
    ] {
        let statement = format!(r#""Effect": "Allow", "Action": "s3:GetObject", "Resource": "{resource}""#);
        let version = r#""Version": "2012-10-17""#;
        let bucket = format!(r#"{{{version}, "Statement": {{"Principal": "*", {statement}}}}}"#);
        assert_eq!(parse_bucket(&bucket).is_ok(), of_bucket, "{resource}");
        assert_eq!(
            parse_identity(&format!(r#"{{{version}, "Statement": {{{statement}}}}}"#)).is_ok(),
            of_identity,
            "{resource}"
        );
    }
}

#[test]
fn conditions_that_are_not_understood_are_refused() {
    for condition in [
        r#"{"StringEqual": {"s3:prefix": "a"}}"#,
        r#"{"NotBool": {"aws:SecureTransport": "true"}}"#,
        r#"{"stringequals": {"s3:prefix": "a"}}"#,
        r#"{"ForSomeValues:StringEquals": {"s3:prefix": "a"}}"#,
        r#"{"StringEquals": "s3:prefix"}"#,
        r#"{"StringEquals": {"s3:prefixes": "a"}}"#,
        r#"{"StringEquals": {"ec2:Region": "a"}}"#,
        r#"{"StringEquals": {"s3:prefix": []}}"#,
        r#"{"StringEquals": {"s3:prefix": null}}"#,
        r#"{"StringEquals": {"s3:prefix": {"a": "b"}}}"#,
        r#"{"StringEquals": {"s3:prefix": "${aws:PrincipalTag/team}"}}"#,
        r#"{"StringEquals": {"s3:RequestObjectTagKeys": "a"}}"#,
        r#"{"NumericEquals": {"s3:max-keys": "ten"}}"#,
        r#"{"NumericEquals": {"s3:max-keys": "nan"}}"#,
        r#"{"NumericEquals": {"s3:prefix": "10"}}"#,
        r#"{"DateLessThan": {"aws:CurrentTime": "soon"}}"#,
        r#"{"DateLessThan": {"s3:max-keys": "1"}}"#,
        r#"{"Bool": {"aws:SecureTransport": "yes"}}"#,
        r#"{"Bool": {"s3:prefix": "true"}}"#,
        r#"{"IpAddress": {"aws:SourceIp": "203.0.113.0/33"}}"#,
        r#"{"IpAddress": {"aws:SourceIp": "203.0.113.*"}}"#,
        r#"{"IpAddress": {"aws:Referer": "203.0.113.0/24"}}"#,
        r#"{"ArnLike": {"aws:PrincipalArn": "user/bob"}}"#,
        r#"{"ArnLike": {"s3:prefix": "arn:aws:s3:::a"}}"#,
        r#"{"BinaryEquals": {"s3:x-amz-acl": "%"}}"#,
        r#"{"NullIfExists": {"s3:prefix": "true"}}"#,
        r#"{"Null": {"s3:prefix": "maybe"}}"#,
        r#"{"StringEquals": {"s3:prefix": "a", "s3:prefix": "b"}}"#,
    ] {
        let error = parse_identity(&with_condition("Deny", condition)).expect_err(condition).to_string();
        assert!(error.contains("Condition/") || error.contains("twice"), "{error}");
    }
    let of_another_service = r#"{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "ec2:*",
        "Resource": "arn:aws:ec2:*:*:instance/*", "Condition": {"StringEquals": {"ec2:Region": "a"}}}}"#;
    assert!(parse_identity(of_another_service).is_ok(), "a statement that is of no effect here");
}

#[test]
fn documents_that_are_not_understood_are_refused() {
    let all = r#"{"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*"}"#;
    let named = r#"{"Sid": "A", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}"#;
    for text in [
        String::new(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"{"Version": "2012-10-17"}"#.to_owned(),
        r#"{"Statement": []}"#.to_owned(),
        r#"{"Statement": null}"#.to_owned(),
        format!(r#"{{"Version": "2012-10-18", "Statement": {all}}}"#),
        format!(r#"{{"Version": 2012, "Statement": {all}}}"#),
        format!(r#"{{"Id": 1, "Statement": {all}}}"#),
        format!(r#"{{"version": "2012-10-17", "Statement": {all}}}"#),
        format!(r#"{{"Statement": {all}, "Statement": {all}}}"#),
        format!(r#"{{"Statement": [{named}, {named}]}}"#),
        format!(r#"{{"Statement": {all}}} x"#),
    ] {
        assert!(parse_bucket(&text).is_err(), "{text}");
    }
    assert!(
        parse_bucket(&format!(
            r#"{{"Version": "2012-10-17", "Id": "x", "Statement": [{all}, {named}, {all}]}}"#
        ))
        .is_ok()
    );
    assert!(
        parse_identity(&format!(r#"{{"Statement": {all}}}"#)).is_err(),
        "an identity names no principals"
    );
}

#[test]
fn long_policies_are_refused() {
    let text = |filler: &str| {
        format!(
            r#"{{"Id": "{filler}", "Statement": {{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}}}"#
        )
    };
    let overhead = text("").chars().filter(|character| !character.is_whitespace()).count();
    let most = IDENTITY_POLICY_CHARACTERS_MAX - overhead;
    assert!(parse_identity(&text(&"é".repeat(most))).is_ok());
    let error = parse_identity(&text(&"é".repeat(most + 1))).unwrap_err().to_string();
    assert_eq!(error, "the policy has 6145 characters without white space; the limit is 6144: shorten it");
    assert!(parse_identity(&(" ".repeat(10_000) + &text(""))).is_ok(), "white space does not count");
    assert!(parse_identity(&(" ".repeat(IDENTITY_POLICY_BYTES_MAX) + &text(""))).is_err(), "but is bounded");

    let text = text("").replace(r#""Action""#, r#""Principal": "*", "Action""#);
    let padded = |bytes: usize| " ".repeat(bytes - text.len()) + &text;
    assert!(parse_bucket(&padded(BUCKET_POLICY_BYTES_MAX)).is_ok());
    assert!(parse_bucket(&padded(BUCKET_POLICY_BYTES_MAX + 1)).is_err());
    let many = vec!["\"*\""; statement::VALUES_MAX + 1].join(",");
    assert!(parse_bucket(&text.replace(r#""Resource": "*""#, &format!(r#""Resource": [{many}]"#))).is_err());
}

/// "The meaning of public", AWS's page on blocking public access.
#[test]
fn public_is_what_is_for_everybody_without_a_fixed_condition() {
    let is_public = |principal: &str, condition: &str| {
        let text = format!(
            r#"{{"Version": "2012-10-17", "Statement": {{"Effect": "Allow", "Principal": {principal},
                "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*", "Condition": {condition}}}}}"#
        );
        bucket_policy(&text).is_public()
    };
    assert!(is_public(r#""*""#, "{}") && is_public(r#"{"AWS": ["111122223333", "*"]}"#, "{}"));
    assert!(!is_public(r#"{"AWS": "arn:aws:iam::s3tenant1:root"}"#, "{}"));
    assert!(!is_public(r#"{"Service": "logging.s3.amazonaws.com"}"#, "{}"));
    for (condition, expected) in [
        (r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/32"}}"#, false),
        (r#"{"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "2001:db8::/32"]}}"#, false),
        (r#"{"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "0.0.0.0/0"]}}"#, true),
        (r#"{"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}}"#, true),
        (r#"{"IpAddressIfExists": {"aws:SourceIp": "203.0.113.0/24"}}"#, true),
        (r#"{"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}"#, true),
        (r#"{"StringEquals": {"aws:SourceVpc": "vpc-91237329"}}"#, false),
        (r#"{"StringLike": {"aws:SourceVpc": "vpc-*"}}"#, true),
        (r#"{"StringLike": {"aws:SourceVpc": "vpc-1"}}"#, false),
        (r#"{"StringNotEquals": {"aws:SourceVpc": "vpc-1"}}"#, true),
        (r#"{"ForAllValues:StringEquals": {"aws:SourceVpc": "vpc-1"}}"#, true),
        (r#"{"StringEquals": {"aws:PrincipalOrgID": "o-1"}}"#, false),
        (r#"{"StringEquals": {"aws:userid": "AIDA1"}}"#, false),
        (r#"{"StringLike": {"aws:userid": "AROA1:*"}}"#, true),
        (r#"{"StringEquals": {"aws:userid": ["AIDA1", "anonymous"]}}"#, true),
        (r#"{"StringEquals": {"aws:userid": "${s3:prefix}"}}"#, true),
        (r#"{"ArnLike": {"aws:SourceArn": "arn:aws:s3:::source"}}"#, false),
        (r#"{"ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}}"#, true),
        (r#"{"ArnLike": {"aws:SourceArn": "*"}}"#, true),
        (r#"{"StringEquals": {"aws:Referer": "https://example.com/"}}"#, true),
        (r#"{"Bool": {"aws:SecureTransport": "true"}}"#, true),
        (r#"{"StringEquals": {"aws:Referer": "a"}, "IpAddress": {"aws:SourceIp": "203.0.113.1"}}"#, false),
    ] {
        assert_eq!(is_public(r#""*""#, condition), expected, "{condition}");
    }
    let denies = r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "*"}}"#;
    assert!(!bucket_policy(denies).is_public());
}

#[test]
fn a_policy_says_whether_it_asks_for_the_tags_of_the_object() {
    let asks = |elements: &str| policy_on(elements).asks_existing_tags();
    let all = r#""Action": "*", "Resource": "*""#;
    assert!(asks(&format!(r#"{all}, "Condition": {{"StringEquals": {{"s3:ExistingObjectTag/a": "b"}}}}"#)));
    assert!(asks(&format!(
        r#"{all}, "Condition": {{"StringEquals": {{"s3:prefix": "${{s3:ExistingObjectTag/a}}"}}}}"#
    )));
    assert!(asks(r#""Action": "*", "Resource": "arn:aws:s3:::b/${s3:ExistingObjectTag/a}""#));
    assert!(!asks(&format!(r#"{all}, "Condition": {{"StringEquals": {{"s3:RequestObjectTag/a": "b"}}}}"#)));
}

/// The bucket policies that ceph/s3-tests puts and expects to be taken.
#[test]
fn policies_of_s3_tests_are_understood() {
    let statement = |effect: &str, principal: &str, action: &str, resource: &str, condition: &str| {
        let text = format!(
            r#"{{"Version": "2012-10-17", "Statement": [{{"Sid": "Allow Public Access to All Objects",
                "Effect": "{effect}", "Principal": {principal}, "Action": {action},
                "Resource": {resource}{condition}}}]}}"#
        );
        parse_bucket(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    };
    let (all, objects) = (r#"{"AWS": "*"}"#, r#""arn:aws:s3:::bucket/*""#);
    let both = r#"["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"]"#;
    statement("Allow", all, r#""s3:ListBucket""#, both, "");
    statement("Allow", all, r#""s3:ListBucket""#, r#"["arn:aws:s3:::*", "arn:aws:s3:::*/*"]"#, "");
    statement("Allow", all, r#""*""#, both, "");
    statement("Allow", all, r#""s3:PutObject""#, r#""arn:aws:s3:::bucket""#, "");
    statement("Allow", r#"{"AWS": "arn:aws:iam::s3tenant1:root"}"#, r#""s3:ListBucket""#, both, "");
    let of_policy = r#"["s3:PutBucketPolicy", "s3:GetBucketPolicy", "s3:DeleteBucketPolicy"]"#;
    statement("Deny", r#""*""#, of_policy, both, "");
    statement("Deny", all, r#""s3:GetBucketPublicAccessBlock""#, r#""arn:aws:s3:::bucket""#, "");
    for (effect, action, condition) in [
        ("Allow", "s3:GetObject", r#"{"StringLikeIfExists": {"aws:Referer": "http://www.example.com/*"}}"#),
        ("Allow", "s3:ListBucket", r#"{"IpAddress": {"aws:SourceIp": "10.0.0.0/32"}}"#),
        ("Allow", "s3:ListBucket", r#"{"StringLike": {"s3:prefix": "public/*"}}"#),
        ("Allow", "s3:GetObject", r#"{"StringEquals": {"s3:ExistingObjectTag/security": "public"}}"#),
        ("Allow", "s3:GetObjectAcl", r#"{"StringEquals": {"s3:ExistingObjectTag/security": "public"}}"#),
        ("Allow", "s3:PutObject", r#"{"StringEquals": {"s3:RequestObjectTag/security": "public"}}"#),
        ("Allow", "s3:PutObject", r#"{"StringLike": {"s3:x-amz-copy-source": "source/public/*"}}"#),
        ("Allow", "s3:PutObject", r#"{"StringEquals": {"s3:x-amz-metadata-directive": "COPY"}}"#),
        ("Allow", "s3:PutObject", r#"{"StringEquals": {"s3:x-amz-grant-full-control": "id=main"}}"#),
        ("Deny", "s3:PutObject", r#"{"StringLike": {"s3:x-amz-acl": "public*"}}"#),
        ("Deny", "s3:PutObject", r#"{"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}"#),
        ("Deny", "s3:PutObject", r#"{"Null": {"s3:x-amz-server-side-encryption": "true"}}"#),
        (
            "Deny",
            "s3:PutObject",
            r#"{"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "true"}}"#,
        ),
        (
            "Deny",
            "s3:PutObject",
            r#"{"StringNotEquals": {"s3:x-amz-server-side-encryption-customer-algorithm": "AES256"}}"#,
        ),
    ] {
        statement(effect, all, &format!("\"{action}\""), objects, &format!(r#", "Condition": {condition}"#));
    }
    let logging = r#", "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::source"},
        "StringEquals": {"aws:SourceAccount": "main"}}"#;
    for service in ["logging.s3.amazonaws.com", "logging.s3.amazonaws.comkaboom"] {
        let service = format!(r#"{{"Service": "{service}"}}"#);
        statement("Allow", &service, r#"["s3:PutObject"]"#, r#""arn:aws:s3:::bucket/log/""#, logging);
    }
    let refused = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow",
        "NotPrincipal": {"AWS": "arn:aws:iam::s3tenant1:root"}, "Action": "s3:ListBucket", "Resource": "*"}]}"#;
    let error = parse_bucket(refused).unwrap_err().to_string();
    assert!(
        error.starts_with("statement 1, NotPrincipal: "),
        "test_bucket_policy_allow_notprincipal: {error}"
    );
}

#[test]
fn the_root_and_anonymous_are_judged_by_what_they_are() {
    let policy = bucket_policy(
        r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "*",
            "Condition": {"StringEquals": {"aws:PrincipalType": ["Anonymous", "Account"]}}}}"#,
    );
    let context = Said::default();
    for (principal, expected) in
        [(Principal::Anonymous, true), (Principal::Root(account("111122223333")), true), (bob(), false)]
    {
        let (action, resource) = (Action::GetObject, "bucket/key");
        let verdict = policy.judge(&Question { principal: &principal, action, resource, context: &context });
        assert_eq!(verdict != Verdict::Nothing, expected, "{principal:?}");
    }
}

/// A request that has a time and an address with their types, which say what the texts would.
struct Typed(i64, std::net::IpAddr);

impl Context for Typed {
    fn values(&self, _: &ConditionKey) -> Values<'_> {
        Values::Absent
    }

    fn moment(&self, key: &ConditionKey) -> Option<i64> {
        (*key == ConditionKey::CurrentTime).then_some(self.0)
    }

    fn address(&self, key: &ConditionKey) -> Option<std::net::IpAddr> {
        (*key == ConditionKey::SourceIp).then_some(self.1)
    }
}

#[test]
fn values_with_types_are_judged_as_their_texts() {
    let times =
        [(1_372_550_400_000, "2013-06-30T00:00:00Z"), (1_372_550_400_001, "2013-06-30T00:00:00.001Z")];
    let addresses = ["192.0.2.7", "198.51.100.1", "2001:db8::1"];
    for ((moment, text), address) in times.iter().flat_map(|time| addresses.map(|address| (*time, address))) {
        for condition in [
            r#"{"DateEquals": {"aws:CurrentTime": "2013-06-30"}}"#,
            r#"{"DateNotEquals": {"aws:CurrentTime": ["2013-06-30", "2014"]}}"#,
            r#"{"DateLessThanEqualsIfExists": {"aws:CurrentTime": "2013-06-30"}}"#,
            r#"{"IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "2001:db8::/32"]}}"#,
            r#"{"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}}"#,
            r#"{"NotIpAddressIfExists": {"aws:SourceIp": ["192.0.2.0/24", "198.51.100.1"]}}"#,
        ] {
            let policy = identity_policy(&with_condition("Allow", condition));
            let context = Typed(moment, address.parse().unwrap());
            let (principal, action, resource) = (bob(), Action::GetObject, "bucket/key");
            let question = Question { principal: &principal, action, resource, context: &context };
            let typed = policy.judge(&question) != Verdict::Nothing;
            let pairs = [("aws:CurrentTime", text), ("aws:SourceIp", address)];
            assert_eq!(typed, holds(condition, &pairs), "{condition} {pairs:?}");
        }
    }
}
