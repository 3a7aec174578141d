//! The paths and methods of commands.

use super::COMMANDS_PATH;
use super::answer::Failure;
use http::Method;

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    ListBuckets,
    ShowBucket(&'a str),
    SetQuota(&'a str),
    RemoveQuota(&'a str),
    /// Removes the next part of what a bucket holds.
    EmptyBucket(&'a str),
    DeleteBucket(&'a str),
    /// Shows what the lifecycle of a bucket would do.
    PreviewLifecycle(&'a str),
    /// Shows or changes users, groups, access keys and policies, as the body says.
    ChangeIdentity,
    /// Says why somebody may do something, or may not.
    Explain,
    ShowClock,
    ConfirmClock,
    ListDrives,
    /// Takes a drive out of the view, by its number.
    TakeOffline(&'a str),
    /// Takes a drive into the set, which the body says where to find.
    TakeDrive,
    /// Begins to empty a drive, by its number.
    EmptyDrive(&'a str),
    /// Has a drive stay that is being emptied.
    KeepDrive(&'a str),
    /// Begins to move old stripes to a drive, by its number.
    SpreadDrive(&'a str),
    /// Ends that.
    StopSpread(&'a str),
}

impl<'a> Command<'a> {
    /// Reads the command of a request, whose path begins with [`COMMANDS_PATH`]. Names of buckets need no
    /// encoding in a path.
    ///
    /// # Errors
    /// Returns a failure with status 404 or 405.
    pub fn parse(method: &Method, path: &'a str) -> Result<Self, Failure> {
        let words: Vec<&str> = path.strip_prefix(COMMANDS_PATH).unwrap_or_default().split('/').collect();
        let command = match (words.as_slice(), method.as_str()) {
            (["buckets"], "GET") => Self::ListBuckets,
            (["buckets"], _) => return Err(Failure::method("GET")),
            (["buckets", ""], _) => return Err(Failure::no_such_path()),
            (["buckets", name], "GET") => Self::ShowBucket(name),
            (["buckets", name], "DELETE") => Self::DeleteBucket(name),
            (["buckets", _], _) => return Err(Failure::method("GET, DELETE")),
            (["buckets", name, "quota"], "PUT") => Self::SetQuota(name),
            (["buckets", name, "quota"], "DELETE") => Self::RemoveQuota(name),
            (["buckets", _, "quota"], _) => return Err(Failure::method("PUT, DELETE")),
            (["buckets", name, "empty"], "POST") => Self::EmptyBucket(name),
            (["buckets", name, "lifecycle", "preview"], "POST") => Self::PreviewLifecycle(name),
            (["buckets", _, "lifecycle", "preview"], _) => return Err(Failure::method("POST")),
            (["identity"], "POST") => Self::ChangeIdentity,
            (["identity", "explain"], "POST") => Self::Explain,
            (["identity"] | ["identity", "explain"], _) => return Err(Failure::method("POST")),
            (["clock"], "GET") => Self::ShowClock,
            (["clock"], _) => return Err(Failure::method("GET")),
            (["clock", "confirm"], "POST") => Self::ConfirmClock,
            (["drives"], "GET") => Self::ListDrives,
            (["drives"], _) => return Err(Failure::method("GET")),
            (["drives", "online"], "POST") => Self::TakeDrive,
            (["drives", "online"], _) => return Err(Failure::method("POST")),
            (["drives", number, "offline"], "POST") => Self::TakeOffline(number),
            (["drives", _, "offline"], _) => return Err(Failure::method("POST")),
            (["drives", number, "drain"], "POST") => Self::EmptyDrive(number),
            (["drives", number, "drain"], "DELETE") => Self::KeepDrive(number),
            (["drives", _, "drain"], _) => return Err(Failure::method("POST, DELETE")),
            (["drives", number, "spread"], "POST") => Self::SpreadDrive(number),
            (["drives", number, "spread"], "DELETE") => Self::StopSpread(number),
            (["drives", _, "spread"], _) => return Err(Failure::method("POST, DELETE")),
            (["buckets", _, "empty"] | ["clock", "confirm"], _) => return Err(Failure::method("POST")),
            _ => return Err(Failure::no_such_path()),
        };
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &str, path: &str) -> Result<String, u16> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let path = format!("{COMMANDS_PATH}{path}");
        let parsed = Command::parse(&method, &path);
        parsed.map(|command| format!("{command:?}")).map_err(|failure| failure.status.as_u16())
    }

    #[test]
    fn each_path_has_its_methods() {
        for (method, path, command) in [
            ("GET", "buckets", "ListBuckets"),
            ("GET", "buckets/photos", "ShowBucket(\"photos\")"),
            ("DELETE", "buckets/photos", "DeleteBucket(\"photos\")"),
            ("PUT", "buckets/photos/quota", "SetQuota(\"photos\")"),
            ("DELETE", "buckets/photos/quota", "RemoveQuota(\"photos\")"),
            ("POST", "buckets/photos/empty", "EmptyBucket(\"photos\")"),
            ("POST", "buckets/photos/lifecycle/preview", "PreviewLifecycle(\"photos\")"),
            ("POST", "identity", "ChangeIdentity"),
            ("POST", "identity/explain", "Explain"),
            ("GET", "clock", "ShowClock"),
            ("POST", "clock/confirm", "ConfirmClock"),
            ("GET", "drives", "ListDrives"),
            ("POST", "drives/3/offline", "TakeOffline(\"3\")"),
            ("POST", "drives/online", "TakeDrive"),
            ("POST", "drives/3/drain", "EmptyDrive(\"3\")"),
            ("DELETE", "drives/3/drain", "KeepDrive(\"3\")"),
            ("POST", "drives/3/spread", "SpreadDrive(\"3\")"),
            ("DELETE", "drives/3/spread", "StopSpread(\"3\")"),
        ] {
            assert_eq!(parse(method, path).as_deref(), Ok(command));
            assert_eq!(parse("PATCH", path), Err(405), "{path}");
        }
        for path in
            ["", "bucket", "buckets/", "buckets/a/b", "buckets/a/quota/", "clock/", "clock/set", "drives/0"]
        {
            assert_eq!(parse("GET", path), Err(404), "{path}");
        }
    }
}
