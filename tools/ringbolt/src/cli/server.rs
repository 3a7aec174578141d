//! The flags of commands that ask a server that runs, and how they show what it says.

use crate::admin::{AdminError, Client};
use clap::Args;
use serde_json::Value;
use std::path::PathBuf;

/// Says which server is asked, and how its answer is shown.
#[derive(Args)]
pub struct ServerArgs {
    /// Data directory of the server, which is asked through its socket
    #[arg(long, env = "RINGBOLT_DATA", default_value = "./ringbolt-data", value_name = "DIR")]
    data: PathBuf,
    /// Admin address of the server instead, as in http://127.0.0.1:9001 or https://node-1:9001; the request is signed
    /// with the root key, from --secret-file or from RINGBOLT_ACCESS_KEY and RINGBOLT_SECRET_KEY
    #[arg(long, env = "RINGBOLT_ADMIN", value_name = "URL")]
    admin: Option<String>,
    /// Trust this certificate, or what the authority in it signed, where --admin begins with https://: a file of PEM
    /// [default: what the system trusts]
    #[arg(long, env = "RINGBOLT_ADMIN_CA", value_name = "FILE", requires = "admin")]
    admin_ca: Option<PathBuf>,
    /// The root key, where --admin needs it: a file with a line RINGBOLT_ACCESS_KEY=… and one RINGBOLT_SECRET_KEY=…
    #[arg(long, env = "RINGBOLT_SECRET_FILE", value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// The region that the server has, for the signature
    #[arg(long, env = "RINGBOLT_REGION", default_value = "us-east-1")]
    region: String,
    /// JSON instead of text
    #[arg(long, env = "RINGBOLT_JSON")]
    pub json: bool,
}

impl ServerArgs {
    /// Makes the client of the server that is meant.
    ///
    /// # Errors
    /// Fails when the address is none, or when there is no root key for it.
    pub fn client(&self) -> Result<Client, AdminError> {
        let secrets = self.secret_file.as_deref();
        Client::new(&self.data, self.admin.as_deref(), self.admin_ca.as_deref(), secrets, &self.region)
    }

    /// Prints what the server says: as it is, or as `text` shows it.
    pub fn show(&self, value: &Value, text: impl FnOnce(&Value) -> String) {
        if self.json {
            println!("{value:#}");
        } else {
            print!("{}", text(value));
        }
    }
}

/// Returns lines of columns that stand below each other. The columns `right` are aligned at their right.
pub fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let length = |text: &String| text.chars().count();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(length).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = widths[column];
            if right.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        let line = cells.collect::<Vec<String>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["NAME", "SIZE", "LOCK"]), row(["photos", "1 B", ""]), row(["é", "10.0 GiB", "on"])];
        let text = "NAME        SIZE  LOCK\nphotos       1 B\né       10.0 GiB  on\n";
        assert_eq!(table(&rows, &[1]), text);
        assert_eq!(table(&[], &[]), "");
    }
}
