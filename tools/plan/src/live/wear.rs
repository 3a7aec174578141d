//! This module reads SMART of a drive through nvme-cli or smartmontools.
//!
//! Sources: "SMART / Health Information" in the NVM Express base specification (a data unit is 1000
//! blocks of 512 bytes); the JSON of `nvme smart-log -o json` and of `smartctl -j -a`; "Device
//! Statistics" in ATA Command Set 4.

use super::error::LiveError;
use super::node::DriveWear;
use super::program::{ProgramError, output};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A drive in deep sleep takes seconds to answer.
const TIME: Duration = Duration::from_secs(20);
const DATA_UNIT_BYTES: f64 = 512_000.0;
const ATA_BLOCK_BYTES: f64 = 512.0;

/// Names the programs that are called.
pub struct Programs {
    pub nvme: String,
    pub smartctl: String,
}

impl Default for Programs {
    fn default() -> Self {
        Self { nvme: "nvme".into(), smartctl: "smartctl".into() }
    }
}

/// Returns the absolute path of an existing device, which can never be taken for an option.
///
/// # Errors
/// Fails when the device does not exist.
pub fn device(path: &Path) -> Result<PathBuf, LiveError> {
    let failed = |source| LiveError::Device { path: path.to_owned(), source };
    std::fs::metadata(path).map_err(failed)?;
    std::path::absolute(path).map_err(failed)
}

/// Reads the wear by nvme-cli if the drive is an NVMe drive, otherwise or if that fails by
/// smartctl.
///
/// # Errors
/// Returns a note as text when neither program gives a result.
pub fn read(programs: &Programs, device: &Path) -> Result<DriveWear, String> {
    let name = device.display().to_string();
    let is_nvme = device.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nvme"));
    let mut why = Vec::new();
    if is_nvme {
        match ask(&programs.nvme, &["smart-log", "-o", "json", &name], of_nvme) {
            Ok(wear) => return Ok(DriveWear { device: name, ..wear }),
            Err(error) => why.push(error),
        }
    }
    match ask(&programs.smartctl, &["-j", "-a", &name], of_smartctl) {
        Ok(wear) => Ok(DriveWear { device: name, ..wear }),
        Err(error) => {
            why.push(error);
            Err(format!("the wear of {name} is not known: {}", why.join("; ")))
        }
    }
}

fn ask(
    program: &str,
    arguments: &[&str],
    parse: fn(&Value) -> Result<DriveWear, String>,
) -> Result<DriveWear, String> {
    let text = output(program, arguments, TIME).map_err(|error: ProgramError| error.to_string())?;
    let parsed = serde_json::from_str(&text).map_err(|_| "no JSON; it may need to be run as root".to_owned());
    let wear = parsed.and_then(|json| parse(&json)).map_err(|error| format!("{program}: {error}"))?;
    Ok(DriveWear { program: program.to_owned(), ..wear })
}

/// Returns a number, which may be written as a text: counts of 128 bits are, sometimes with commas.
fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.replace(',', "").trim().parse().ok(),
        _ => None,
    };
    number.filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

/// Returns the first of `names` that is a number in `json`.
fn field(json: &Value, names: &[&str]) -> Option<f64> {
    names.iter().find_map(|name| json.get(name).and_then(number))
}

fn of_nvme(json: &Value) -> Result<DriveWear, String> {
    let wear = DriveWear {
        percentage_used: field(json, &["percent_used", "percentage_used"]),
        host_written_bytes: field(json, &["data_units_written"]).map(|units| units * DATA_UNIT_BYTES),
        power_on_hours: field(json, &["power_on_hours"]),
        ..DriveWear::default()
    };
    known(wear)
}

fn of_smartctl(json: &Value) -> Result<DriveWear, String> {
    let messages = json.pointer("/smartctl/messages").and_then(Value::as_array);
    let said: Vec<&str> =
        messages.into_iter().flatten().filter_map(|message| message.get("string")?.as_str()).collect();
    let nvme = json.get("nvme_smart_health_information_log").unwrap_or(&Value::Null);
    let at = |pointer: &str| json.pointer(pointer).and_then(number);
    let nvme_written = field(nvme, &["data_units_written"]).map(|units| units * DATA_UNIT_BYTES);
    let wear = DriveWear {
        percentage_used: field(nvme, &["percentage_used"])
            .or_else(|| ata_statistic(json, "Percentage Used Endurance Indicator"))
            .or_else(|| at("/endurance_used/current_percent"))
            .or_else(|| at("/scsi_percentage_used_endurance_indicator")),
        host_written_bytes: nvme_written.or_else(|| ata_written_bytes(json)),
        power_on_hours: field(nvme, &["power_on_hours"]).or_else(|| at("/power_on_time/hours")),
        ..DriveWear::default()
    };
    known(wear).map_err(|error| if said.is_empty() { error } else { said.join(", ") })
}

fn ata_written_bytes(json: &Value) -> Option<f64> {
    let block_bytes = json.get("logical_block_size").and_then(number).unwrap_or(ATA_BLOCK_BYTES);
    let blocks = ata_statistic(json, "Logical Sectors Written").or_else(|| {
        let table = json.pointer("/ata_smart_attributes/table")?.as_array()?;
        // Manufacturers give this number other meanings under other names.
        let attribute = table.iter().find(|attribute| {
            attribute.get("id").and_then(Value::as_u64) == Some(241)
                && attribute.get("name").and_then(Value::as_str) == Some("Total_LBAs_Written")
        })?;
        number(attribute.pointer("/raw/value")?)
    })?;
    Some(blocks * block_bytes)
}

fn ata_statistic(json: &Value, name: &str) -> Option<f64> {
    let pages = json.pointer("/ata_device_statistics/pages")?.as_array()?;
    let mut rows = pages.iter().filter_map(|page| page.get("table")?.as_array()).flatten();
    number(rows.find(|row| row.get("name").and_then(Value::as_str) == Some(name))?.get("value")?)
}

fn known(wear: DriveWear) -> Result<DriveWear, String> {
    if wear.percentage_used.is_none() && wear.host_written_bytes.is_none() {
        return Err("says neither wear nor bytes written".to_owned());
    }
    Ok(wear)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wear(percentage_used: Option<f64>, host_written_bytes: Option<f64>, hours: Option<f64>) -> DriveWear {
        DriveWear { percentage_used, host_written_bytes, power_on_hours: hours, ..DriveWear::default() }
    }

    fn json(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn nvme_cli_is_understood() {
        let text = "{\"critical_warning\": 0, \"temperature\": 310, \"avail_spare\": 100, \"percent_used\": 3, \
            \"data_units_read\": 7, \"data_units_written\": 2000, \"power_on_hours\": 8766}";
        let expected = wear(Some(3.0), Some(1.024e9), Some(8766.0));
        assert_eq!(of_nvme(&json(text)).unwrap(), expected);
        // Large counts are texts.
        let text = "{\"percent_used\": 3, \"data_units_written\": \"2,000\", \"power_on_hours\": \"8766\"}";
        assert_eq!(of_nvme(&json(text)).unwrap(), expected);
        for text in ["{}", "[]", "{\"data_units_written\": \"many\"}", "{\"percent_used\": -1}"] {
            assert!(of_nvme(&json(text)).unwrap_err().contains("neither"), "{text}");
        }
    }

    #[test]
    fn smartctl_is_understood_for_every_kind_of_drive() {
        let nvme = r#"{"smartctl": {"exit_status": 4}, "nvme_smart_health_information_log":
            {"percentage_used": 12, "data_units_written": 1000, "power_on_hours": 24}}"#;
        assert_eq!(of_smartctl(&json(nvme)).unwrap(), wear(Some(12.0), Some(5.12e8), Some(24.0)));
        let ata = r#"{"logical_block_size": 512, "power_on_time": {"hours": 100}, "ata_device_statistics": {"pages": [
            {"number": 1, "table": [{"name": "Logical Sectors Written", "value": 2000}]}, {"number": 2},
            {"number": 7, "table": [{"name": "Percentage Used Endurance Indicator", "value": 5}]}]}}"#;
        assert_eq!(of_smartctl(&json(ata)).unwrap(), wear(Some(5.0), Some(1_024_000.0), Some(100.0)));
        let attributes = r#"{"power_on_time": {"hours": 1}, "endurance_used": {"current_percent": 2},
            "ata_smart_attributes": {"table": [
            {"id": 9, "name": "Power_On_Hours", "raw": {"value": 1}},
            {"id": 241, "name": "Total_LBAs_Written", "raw": {"value": 10}}]}}"#;
        let blocks = of_smartctl(&json(attributes)).unwrap();
        assert_eq!(blocks, wear(Some(2.0), Some(5120.0), Some(1.0)));
        let other = attributes.replace("Total_LBAs_Written", "Host_Writes_32MiB");
        assert_eq!(of_smartctl(&json(&other)).unwrap().host_written_bytes, None, "of another unit");
        let scsi = of_smartctl(&json(r#"{"scsi_percentage_used_endurance_indicator": 9}"#)).unwrap();
        assert_eq!(scsi.percentage_used, Some(9.0));
    }

    #[test]
    fn what_smartctl_complains_of_is_passed_on() {
        let text = r#"{"smartctl": {"messages": [{"string": "Unable to detect device type", "severity": "error"}],
            "exit_status": 1}}"#;
        assert_eq!(of_smartctl(&json(text)).unwrap_err(), "Unable to detect device type");
    }

    #[test]
    fn programs_that_are_not_there_make_a_note() {
        let programs = Programs { nvme: "no-such-nvme".into(), smartctl: "no-such-smartctl".into() };
        let note = read(&programs, Path::new("/dev/nvme0")).unwrap_err();
        assert!(
            note.starts_with("the wear of /dev/nvme0 is not known: no-such-nvme is not installed; "),
            "{note}"
        );
        let note = read(&programs, Path::new("/dev/sda")).unwrap_err();
        assert_eq!(note, "the wear of /dev/sda is not known: no-such-smartctl is not installed");
        // These programs print no JSON.
        let programs = Programs { nvme: "echo".into(), smartctl: "true".into() };
        let note = read(&programs, Path::new("/dev/nvme0")).unwrap_err();
        assert!(note.contains("echo: no JSON") && note.contains("true: no JSON"), "{note}");
    }

    #[test]
    fn devices_have_whole_paths_and_are_there() {
        assert_eq!(device(Path::new("/dev/null")).unwrap(), Path::new("/dev/null"));
        assert!(device(Path::new("Cargo.toml")).unwrap().is_absolute());
        assert!(device(Path::new("-a")).unwrap_err().to_string().contains("device -a"));
    }
}
