//! Rules of tables, and masks.

use super::*;
use crate::service::tabulator;

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
        ("[[table]]\nschema = 1\nlog_groups = [\"a\"]", "c.toml:5:1", &["`table.schema` of rule 1 can't be 1"]),
        (
            "[[table]]\nschema = \"a\"\nlog_groups = \"a\"",
            "c.toml:6:1",
            &["`table.log_groups` of rule 1 can't be \"a\"", "list"],
        ),
        (
            "[[table]]\nschema = \"a\"\nlog_groups = []",
            "c.toml:6:1",
            &["`table.log_groups` of rule 1 can't be [] (it is empty)"],
        ),
        (
            "[[table]]\nschema = \"a\"\nlog_groups = [\"a\"]\non_mismatch = \"drop\"",
            "c.toml:7:1",
            &["`table.on_mismatch` of rule 1 can't be \"drop\"", "error or log_events"],
        ),
        (
            "[[table]]\nschema = \"a\"\nlog_groups = [\"a\"]\nname = \"My-Table\"",
            "c.toml:7:1",
            &["`table.name` of rule 1 can't be \"My-Table\"", "lower-case"],
        ),
        (
            "[[table]]\nschema = \"a\"\nlog_group = [\"a\"]",
            "c.toml:6:1",
            &["unknown key `log_group` of a table", "`log_groups`"],
        ),
        (
            "[[table]]\nschema = \"a\"\nlog_groups = [\"a\"]\n[[table]]\nschema = \"a\"\nlog_groups = [\"b\", \"[c\"]",
            "c.toml:9:1",
            &[
                "`table.log_groups` of rule 2 can't be",
                "\"[c\" is no glob: unclosed character class",
                "give a list of globs",
            ],
        ),
        (
            "[[table]]\nschema = \"a\"\nlog_groups = [\"a\", \"\"]",
            "c.toml:6:1",
            &["`table.log_groups` of rule 1 can't be [\"a\", \"\"] (a glob in it is empty)"],
        ),
        (
            "[[table]]\nschema = \"errors\"\nlog_groups = [\"a\"]",
            "c.toml:5:1",
            &[
                "`table.schema` of rule 1 can't be \"errors\" (it is that of the error prefix",
                "give the name of a schema",
            ],
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

/// What is wrong with the tables of this file, beside what lacks nothing.
fn wrong_tables(more: &str) -> Vec<String> {
    let bad = tabulator(&from_file(&format!("{GOOD}{more}")).unwrap()).unwrap_err();
    bad.0.iter().map(ToString::to_string).collect()
}

#[test]
fn what_a_rule_names_and_is_not_there_is_told_with_its_place() {
    let web = "[[table]]\nschema = \"apache_access\"\nname = \"t\"\nlog_groups = [\"web\"]\n";
    for (more, expected) in [
        (
            "[[table]]\nschema = \"nope\"\nlog_groups = [\"a\"]\n",
            "c.toml:9:1: `table.schema` of rule 2 can't be \"nope\": there is no such schema, but alb_access, ",
        ),
        (
            "[[table]]\nschema = \"app_json\"\nlog_groups = [\"a\"]\nfields = [\"x\"]\n",
            "c.toml:11:1: `table.fields` of rule 2 can't be [\"x\"]: its messages are not delimited",
        ),
        (
            "[[table]]\nschema = \"vpc_flow\"\nlog_groups = [\"a\"]\nfields = [\"x\"]\n",
            "c.toml:11:1: `table.fields` of rule 2 can't be [\"x\"]: there is no field \"x\": the schema has version, ",
        ),
        (
            "[[table]]\nschema = \"vpc_flow\"\nlog_groups = [\"a\"]\nname = \"t\"\n",
            "c.toml:11:1: `table.name` of rule 2 can't be \"t\": rule 1 fills a table of that name",
        ),
    ] {
        let lines = wrong_tables(&format!("{web}{more}"));
        assert!(lines.len() == 1 && lines[0].starts_with(expected), "{lines:?}");
    }
    let lines = wrong_tables(
        "[[table]]\nschema = \"a\"\nlog_groups = [\"a\"]\n[[table]]\nschema = \"b\"\nlog_groups = [\"b\"]",
    );
    assert_eq!(lines.len(), 2, "all are told: {lines:?}");

    let variable = "[{schema='app_json', log_groups=['a']}, {schema='nope', log_groups=['b']}]";
    let bad = tabulator(&from_variables(&[("FIREMAIN_TABLE", variable)]).unwrap()).unwrap_err().to_string();
    assert!(bad.starts_with("FIREMAIN_TABLE: `table.schema` of rule 2 can't be \"nope\""), "{bad}");

    let nowhere =
        tabulator(&from_file(&format!("schemas_dir = \"/no/where\"\n{GOOD}")).unwrap()).unwrap_err().to_string();
    assert!(nowhere.starts_with("c.toml:1:1: `schemas_dir` can't be \"/no/where\" (No such file"), "{nowhere}");
    assert!(nowhere.contains("give a folder of schema files"), "{nowhere}");
}

#[test]
fn a_bloom_filter_is_for_a_column_that_a_table_has() {
    let rule = "[[table]]\nschema = \"app_json\"\nlog_groups = [\"a\"]\n";
    let columns = |columns: &str| format!("{rule}[format]\nbloom_filters = {columns}\n");
    assert!(tabulator(&from_file(&format!("{GOOD}{}", columns("[\"log_stream\", \"request_id\"]"))).unwrap()).is_ok());
    let lines = wrong_tables(&columns("[\"log_stream\", \"reqest_id\"]"));
    let expected = "c.toml:8:1: `format.bloom_filters` can't be [\"log_stream\", \"reqest_id\"] (no table has a column \
                    \"reqest_id\": there are ";
    assert!(lines.len() == 1 && lines[0].starts_with(expected), "{lines:?}");
    let json = from_file(&format!("{GOOD}[format]\nkind = \"json\"\nbloom_filters = [\"log_stream\"]\n")).unwrap();
    let warnings: Vec<_> = json.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["c.toml:6:1: `format.bloom_filters` has no use while `format.kind` is json"]);
}

#[test]
fn a_glob_that_an_earlier_one_covers_is_warned_of() {
    let warned = |globs: &[&[&str]]| {
        let rule = |globs: &&[&str]| format!("[[table]]\nschema = \"app_json\"\nlog_groups = {globs:?}\n");
        let rules: String = globs.iter().map(rule).collect();
        let warnings = from_file(&format!("{GOOD}{rules}")).unwrap().warnings();
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for sound in [
        &[&["/ecs/web/*", "/ecs/*"][..], &["/aws/*"]][..],
        &[&["/ecs/web"], &["/ecs/web*"]],
        &[&["/ecs/?*"], &["/ecs/a"]],
        &[&["/ecs/[ab]*"], &["/ecs/a*"]],
        &[&["/a*z"], &["/ab"]],
        &[&["/a/*"], &["/*/b"]],
    ] {
        assert_eq!(warned(sound), [""; 0], "{sound:?}");
    }
    for covered in [
        &[&["*"][..], &["/ecs/web"]][..],
        &[&["**"], &["/ecs/web"]],
        &[&["/ecs/*"], &["/ecs/web/[ab]"]],
        &[&["/e?s/*"], &["/e?s/*"]],
        &[&["/ecs/**"], &["/ecs/*"]],
    ] {
        let warnings = warned(covered);
        assert_eq!(warnings.len(), 1, "{covered:?}: {warnings:?}");
        let start = "c.toml:9:1: `table.log_groups` of rule 2 has \"";
        assert!(warnings[0].starts_with(start), "{warnings:?}");
        assert!(warnings[0].contains("of rule 1 takes all that it would; put the narrower rule first"), "{warnings:?}");
    }
    let twice = warned(&[&["a", "b", "a"]]);
    assert!(
        twice.len() == 1 && twice[0].contains("before it takes all that it would; remove one of them"),
        "{twice:?}"
    );
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
    let glue = |more: &str| {
        let file = "destination = \"s3://lake/x\"\nsource.kinesis.stream = \"s\"\n[catalog.glue]\n";
        from_file(&format!("{file}{more}")).map(|loaded| loaded.config.glue)
    };
    let database = || "logs".to_owned();
    assert_eq!(glue("database = \"logs\"").unwrap(), Some(GlueConfig { database: database(), catalog_id: None }));
    let other = Some("012345678901".to_owned());
    let said = glue("database = \"logs\"\ncatalog_id = \"012345678901\"").unwrap();
    assert_eq!(said, Some(GlueConfig { database: database(), catalog_id: other }));
    for (more, expected) in [
        (
            "catalog_id = \"012345678901\"",
            "c.toml:4:1: `catalog.glue.catalog_id` has no use without `catalog.glue.database`",
        ),
        (
            "database = \"logs\"\ncatalog_id = 123456789012",
            "c.toml:5:1: `catalog.glue.catalog_id` can't be 123456789012 (a string is wanted): give the 12 digits",
        ),
        (
            "database = \"logs\"\ncatalog_id = \"12345\"",
            "c.toml:5:1: `catalog.glue.catalog_id` can't be \"12345\": give",
        ),
    ] {
        let text = glue(more).unwrap_err().to_string();
        assert!(text.starts_with(expected), "{text}");
    }
}
