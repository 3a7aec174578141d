use super::*;
use clap::CommandFactory;

#[test]
fn every_flag_has_its_environment_variable() {
    let command = Cli::command();
    let all = std::iter::once(&command).chain(command.get_subcommands());
    for argument in
        all.flat_map(clap::Command::get_arguments).filter(|argument| argument.get_long().is_some())
    {
        let name = argument.get_long().unwrap();
        let expected = format!("RINGBOLT_{}", name.replace('-', "_").to_uppercase());
        let variable = argument.get_env().map(|variable| variable.to_string_lossy().into_owned());
        if !["help", "version"].contains(&name) {
            assert_eq!(variable, Some(expected));
        }
    }
}

#[test]
fn the_command_line_of_the_manual_is_understood() {
    Cli::command().debug_assert();
    let line = "ringbolt serve --data d --drive a --drive b --listen 127.0.0.1:0 --cores 0-1 --memory 1GiB \
                --admin-listen 127.0.0.1:0 \
                --size 4GiB --shards 8 --log-format json --log debug --abort-uploads-after 7d";
    let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
    let Command::Serve(args) = cli.command else { panic!("not serve") };
    assert_eq!((args.drive.len(), args.cores, args.size), (2, Some(CpuList(vec![0, 1])), 4 << 30));
    assert_eq!(args.abort_uploads_after, Some(7 * 86_400_000));
    assert_eq!(args.admin_listen, AddressOrOff(Some(([127, 0, 0, 1], 0).into())));
    assert_eq!(parse_address_or_off("off"), Ok(AddressOrOff(None)));
    assert!(parse_address_or_off("9001").unwrap_err().contains("127.0.0.1:9001, or off"));
    assert!(Cli::try_parse_from(["ringbolt", "format"]).is_err());
    assert!(Cli::try_parse_from(["ringbolt", "serve", "--memory", "much"]).is_err());
}

#[test]
fn drives_and_their_redundancy_are_understood() {
    let parse = |line: &str| Cli::try_parse_from(line.split_whitespace());
    let format = |flags: &str| match parse(&format!("ringbolt format --drive a --drive b {flags}"))
        .map(|cli| cli.command)
    {
        Ok(Command::Format(args)) => Ok(args.redundancy),
        Ok(_) => panic!("not format"),
        Err(error) => Err(error.to_string()),
    };
    assert_eq!((format(""), format("--redundancy none")), (Ok(None), Ok(Some(Redundancy::NONE))));
    assert_eq!(format("--redundancy mirror-3"), Ok(Some(Redundancy::copies(2))));
    assert_eq!(format("--redundancy 4+2"), Ok(Some(Redundancy::striped(4, 2))));
    let told = format("--redundancy 4x2").unwrap_err();
    assert!(
        told.contains("\"4x2\" is no redundancy; write none, mirror (two copies of everything)"),
        "{told}"
    );
    let uuid = "7d444840-9dc0-41d1-b245-5ffdce74fad2";
    let serve =
        format!("ringbolt serve --drive a --redundancy none --without-drive {uuid} --without-drive {uuid}");
    let Command::Serve(args) = parse(&serve).unwrap().command else { panic!("not serve") };
    assert_eq!((args.redundancy, args.without_drive.len()), (Some(Redundancy::NONE), 2));
    let told = parse("ringbolt serve --drive a --without-drive b").err().unwrap().to_string();
    assert!(told.contains("\"b\" is no UUID of a drive"), "{told}");
}

#[test]
fn reports_are_readable_by_people_and_programs() {
    let lines = vec![("size".to_owned(), "4096".to_owned()), ("version".to_owned(), "1".to_owned())];
    let report = InspectReport { sections: vec![("superblock".to_owned(), lines)] };
    assert_eq!(as_text(&report), "superblock\n  size     4096\n  version  1\n");
    let json: serde_json::Value = serde_json::from_str(&as_json(&report)).unwrap();
    assert_eq!(json["superblock"]["version"], "1");
}
