//! Rules of tables, and masks.

use super::*;

fn rules(more: &str) -> Vec<TableConfig> {
    from_file(&format!("{GOOD}{more}")).unwrap().config.tables
}

fn rule(schema: &str, log_groups: &[&str]) -> TableConfig {
    TableConfig {
        schema: schema.to_owned(),
        name: None,
        log_groups: log_groups.iter().map(|&glob| glob.to_owned()).collect(),
        on_mismatch: OnMismatch::Error,
        fields: None,
    }
}

#[test]
fn rules_of_tables_keep_their_order() {
    let said = rules(
        "[[table]]\nschema = \"vpc_flow\"\nlog_groups = [\"/vpc/*\"]\nfields = [\"version\", \"bytes\"]\n\
         [[table]]\nschema = \"app_json\"\nname = \"orders\"\nlog_groups = ['/a', '/b/*']\non_mismatch = \"log_events\"\n",
    );
    let fields = Some(vec!["version".to_owned(), "bytes".to_owned()]);
    let orders = Some("orders".to_owned());
    let expected = [
        TableConfig { fields, ..rule("vpc_flow", &["/vpc/*"]) },
        TableConfig { name: orders, on_mismatch: OnMismatch::LogEvents, ..rule("app_json", &["/a", "/b/*"]) },
    ];
    assert_eq!(said, expected);
}

#[test]
fn rules_of_the_environment_replace_those_of_the_file() {
    let file = format!("{GOOD}[[table]]\nschema = \"vpc_flow\"\nlog_groups = [\"/vpc/*\"]\n");
    let rules = |text: &str| {
        let said = load(Layer::new(), variables(&[("FIREMAIN_TABLE", text)]), Some(("c.toml", &file)));
        said.map(|loaded| loaded.config.tables)
    };
    assert_eq!(rules("[{schema='a', log_groups=['/x']}]").unwrap(), [rule("a", &["/x"])]);
    assert_eq!(rules(" [] ").unwrap(), []);
    for (text, part) in [
        ("schema='a'", "give one of inline tables, such as [{schema"),
        ("[{schema='a'", "give one of inline tables"),
        ("'a'", "`table` is a list of rules"),
        ("[{schema='a'}]", "has no `log_groups`"),
    ] {
        let line = load(Layer::new(), variables(&[("FIREMAIN_TABLE", text)]), Some(("c.toml", &file))).unwrap_err();
        let line = line.to_string();
        assert!(line.starts_with("FIREMAIN_TABLE: ") && line.contains(part), "{line}");
    }
}

#[test]
fn what_is_wrong_with_a_rule_is_told_with_its_place() {
    for (more, place, parts) in [
        ("[[table]]\nschema = \"a\"", "c.toml:4:1", &["[[table]] has no `log_groups`"][..]),
        ("[[table]]\nlog_groups = [\"a\"]", "c.toml:4:1", &["[[table]] has no `schema`"]),
        ("[table]\nschema = \"a\"", "c.toml:4:1", &["two brackets"]),
        ("[[table]]\nschema = 1\nlog_groups = [\"a\"]", "c.toml:5:1", &["`table.schema` can't be 1"]),
        ("[[table]]\nschema = \"a\"\nlog_groups = \"a\"", "c.toml:6:1", &["`table.log_groups` can't be \"a\"", "list"]),
        ("[[table]]\nschema = \"a\"\nlog_groups = []", "c.toml:6:1", &["`table.log_groups` can't be []"]),
        (
            "[[table]]\nschema = \"a\"\nlog_groups = [\"a\"]\non_mismatch = \"drop\"",
            "c.toml:7:1",
            &["`table.on_mismatch` can't be \"drop\"", "error or log_events"],
        ),
        (
            "[[table]]\nschema = \"a\"\nlog_groups = [\"a\"]\nname = \"My-Table\"",
            "c.toml:7:1",
            &["`table.name` can't be \"My-Table\"", "lower-case"],
        ),
        (
            "[[table]]\nschema = \"a\"\nlog_group = [\"a\"]",
            "c.toml:6:1",
            &["unknown key `log_group` of a table", "`log_groups`"],
        ),
    ] {
        let lines = lines(from_file(&format!("{GOOD}{more}")));
        let line = &lines[0];
        assert!(line.starts_with(place), "{line}");
        for part in parts {
            assert!(line.contains(part), "{part:?} is not in: {line}");
        }
    }
}

#[test]
fn masks_are_checked_and_the_key_of_hashes_is_never_shown() {
    for (more, parts) in [
        ("[mask]\npatterns = [\"jwt\", \"iban\"]", &["`mask.patterns` can't be", "iban", "credit_card"][..]),
        ("[mask]\nregexes = [\"(\"]", &["`mask.regexes` can't be", "unclosed group"]),
        ("[mask]\nfields = []", &["`mask.fields` can't be []", "empty"]),
        ("[mask]\nreplacement = \"#\"", &["`mask.replacement` has no use while nothing is masked"]),
        ("[mask]\nfields = [\"a\"]\nreplacement = 'a\"b'", &["`mask.replacement` can't be"]),
        (
            "[mask]\nfields = [\"a\"]\nreplacement = \"#\"\nhash_key = \"0123456789abcdef\"",
            &["`mask.replacement` and `mask.hash_key` exclude each other"],
        ),
        (
            "[mask]\nfields = [\"a\"]\nunreadable = \"drop\"",
            &["`mask.unreadable` can't be \"drop\"", "withhold or keep"],
        ),
    ] {
        let line = wrong_with(more);
        for part in parts {
            assert!(line.contains(part), "{part:?} is not in: {line}");
        }
    }
    let line = wrong_with("[mask]\nfields = [\"a\"]\nhash_key = \"hunter2\"");
    assert!(line.contains("`mask.hash_key` can't be this (it is too short)") && !line.contains("hunter2"), "{line}");

    let more = "[mask]\nfields = [\"a\"]\nhash_key = \"0123456789abcdef\"";
    let loaded = from_file(&format!("{GOOD}{more}")).unwrap();
    let shown = loaded.values.iter().find(|(path, ..)| *path == "mask.hash_key").unwrap();
    assert_eq!(shown.1, "(secret)");
    assert!(!format!("{loaded:?}").contains("0123456789abcdef"));
}

#[test]
fn a_catalogue_is_for_s3() {
    let line = wrong_with("[catalog.glue]\ndatabase = \"logs\"");
    assert!(line.contains("`catalog.glue.database` has no use for a destination that is not on S3"), "{line}");
    let file = "destination = \"s3://lake/x\"\nsource.kinesis.stream = \"s\"\n[catalog.glue]\ndatabase = \"logs\"";
    let config = from_file(file).unwrap().config;
    assert_eq!(
        (config.glue_database.as_deref(), config.destination.to_string().as_str()),
        (Some("logs"), "s3://lake/x")
    );
}
