use super::catalog::{Dialect, Partitions, TableIn};
use super::library::Library;
use super::*;
use crate::config::layers::Layer;
use crate::config::{self, FormatKind};

#[test]
fn the_built_in_schemas_are_valid_and_fit_their_catalogues() {
    let library = Library::open(None).unwrap();
    let names: Vec<_> = library.schemas().map(|(schema, path)| (schema.name.clone(), path.to_owned())).collect();
    let expected =
        BUILT_IN.map(|(path, _)| (path["schemas/".len()..path.len() - ".json".len()].to_owned(), path.to_owned()));
    assert_eq!(names, expected, "each has the name of its file");
    let errors = Arc::new(Schema::errors());
    for schema in library.schemas().map(|(schema, _)| schema).chain([&errors]) {
        for (name, about) in schema
            .columns
            .iter()
            .map(|c| (&c.name, &c.description))
            .chain(schema.partitions.iter().map(|c| (&c.name, &c.description)))
        {
            assert!(
                !about.is_empty() && about.len() <= 255,
                "{}.{name}: Glue takes comments of up to 255 bytes",
                schema.name
            );
        }
        schema.parquet().unwrap();
    }
}

#[test]
fn the_general_table_has_the_fields_of_events() {
    let schema = Schema::log_events();
    let columns: Vec<_> =
        schema.columns.iter().map(|column| (column.name.as_str(), column.kind, column.required)).collect();
    assert_eq!(
        columns,
        [
            ("event_id", Type::String, true),
            ("timestamp", Type::Timestamp, true),
            ("message", Type::String, true),
            ("log_stream", Type::String, false),
            ("owner", Type::String, false),
            ("ingested_at", Type::Timestamp, true),
        ]
    );
    let partitions: Vec<_> = schema.partitions.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(partitions, ["log_group", "dt", "hour"]);
    assert_eq!(schema.position(Field::Timestamp), Some(1));
}

/// A file with these columns and this beside them.
fn file(columns: &str, beside: &str) -> String {
    format!(
        r#"{{
  "name": "t", "version": 1, {beside}
  "columns": [
    {columns}
  ],
  "partitions": [
    {{"name": "log_group", "type": "string"}}, {{"name": "dt", "type": "string"}}, {{"name": "hour", "type": "string"}}
  ]
}}"#
    )
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_line_and_field() {
    let message = r#"{"name":"message","type":"string","required":true}"#;
    let json = r#""parse": {"json": {}},"#;
    let with = |more: &str| format!("{message},\n    {more}");
    // The file, what its error is about, and what it says.
    let cases = [
        (
            file(r#"{"name":"a","type":"varchar"}"#, &format!("{json} \"keep_message\": false,")),
            r#""varchar""#,
            "unknown type \"varchar\": use one of string, bigint,",
        ),
        (file(r#"{"name":"A","type":"string"}"#, json), r#""A""#, "a name is of lower-case letters"),
        (file(r#"{"name":"hour","type":"string"}"#, json), r#""hour", "#, "column \"hour\" is there twice"),
        (
            file(r#"{"name":"tag","type":"string"}"#, "\"keep_message\": false,"),
            r#""tag""#,
            "an event has no tag: use one of event_id,",
        ),
        (file(r#"{"name":"a","type":"string"}"#, json), r#""t""#, "there is no column `message`"),
        (file(message, &format!("{json} \"keep_message\": false,")), r#""message""#, "\"keep_message\" is false"),
        (
            file(r#"{"name":"message","type":"timestamp(3)"}"#, ""),
            r#""timestamp(3)""#,
            "the event's message is a string, not a timestamp(3)",
        ),
        (
            file(&with(r#"{"name":"owner","type":"string","required":true}"#), ""),
            r#""owner""#,
            "not every event has a owner",
        ),
        (
            file(&with(r#"{"name":"owner","type":"string","nullable":true}"#), ""),
            r#"":true"#,
            "unknown field `nullable`",
        ),
        (
            file(&with(r#"{"name":"a","type":"string","format":"iso8601"}"#), json),
            r#""iso8601""#,
            "only a timestamp or a date has a format",
        ),
        (
            file(&with(r#"{"name":"a","type":"date","format":"rfc"}"#), json),
            r#""rfc""#,
            "\"rfc\" is no format of times",
        ),
        (file(&with(r#"{"name":"a","type":"date","zone":"Mars"}"#), json), r#""Mars""#, "\"Mars\" is no offset"),
        (
            file(message, r#""parse": {"json": {"rest": "extra"}},"#),
            r#""extra""#,
            "there is no column \"extra\" of type string",
        ),
        (file(message, r#""parse": {"xml": {}},"#), r#"": {}"#, "unknown field `xml`, expected one of `json`,"),
        (
            file(message, r#""parse": {"regex": {"patterns": ["a("]}},"#),
            r#""a(""#,
            "the pattern is no regular expression: unclosed group, at its character 2",
        ),
        (
            file(&with(r#"{"name":"a","type":"string"}"#), r#""parse": {"regex": {"patterns": ["(?<b>x)"]}},"#),
            r#""a""#,
            "column \"a\": no group of a pattern is called \"a\"",
        ),
        (
            file(&with(r#"{"name":"a","type":"string"}"#), r#""parse": {"grok": {"patterns": ["%{NOPE:a}"]}},"#),
            r#""%{NOPE:a}""#,
            "there is no pattern \"NOPE\": add it to \"definitions\"",
        ),
        (
            file(&with(r#"{"name":"a","type":"string"}"#), r#""parse": {"grok": {"patterns": ["%{IP"]}},"#),
            r#""%{IP""#,
            "is no grok pattern: ",
        ),
        (
            file(message, r#""parse": {"grok": {"patterns": ["%{A}"], "definitions": {"A": "("}}},"#),
            r#""%{A}""#,
            "pening parenthesis without closing parenthesis",
        ),
        (
            file(message, r#""parse": {"regex": {"patterns": ["(?=b)"]}},"#),
            r#""(?=b)""#,
            "look-around, including look-ahead and look-behind, is not supported, at its character 1: \"grok\" has it",
        ),
        (
            file(message, r#""parse": {"regex": {"patterns": ["(x{1,10000}){1,1000}"]}},"#),
            r#""(x{"#,
            "the pattern takes more than 10 MiB when it is compiled: let it repeat less",
        ),
        (
            file(
                &with(r#"{"name":"a","type":"string"}"#),
                r#""parse": {"delimited": {"delimiter": "\t", "fields": ["b"]}},"#,
            ),
            r#""a""#,
            "column \"a\": no field is called \"a\"",
        ),
        (
            file(
                &with(r#"{"name":"a","type":"map<string,string>"}"#),
                r#""parse": {"delimited": {"delimiter": "é", "fields": ["a"]}},"#,
            ),
            r#""é""#,
            "an ASCII character is wanted",
        ),
        (
            file(
                &with(r#"{"name":"a","type":"map<string,string>"}"#),
                r#""parse": {"delimited": {"delimiter": " ", "fields": ["a"]}},"#,
            ),
            r#""a""#,
            "a map comes from JSON only",
        ),
        (
            file(message, r#""parse": {"regex": {"patterns": []}},"#),
            r#""patterns""#,
            "\"patterns\" is empty: give at least one",
        ),
        (file("", json), r#""t""#, "there are no columns"),
        (file(message, "").replace("\"dt\"", "\"day\""), r#""day""#, "the partitions are log_group, dt, hour"),
    ];
    for (text, about, why) in cases {
        let error = Schema::parse("t.json", &text, None).map(|_| ()).unwrap_err();
        assert!(error.why.contains(why), "{error}, and not {why}\n{text}");
        let line = text.lines().nth(error.line - 1).unwrap();
        let place: String = line.chars().skip(error.column - 1).collect();
        assert!(place.starts_with(about), "{error} is not at {about}\n{text}");
    }
}

#[test]
fn what_is_no_schema_at_all_is_said_in_words_of_json() {
    for (text, expected) in [
        ("", "t.json:1:1: the file is empty: `firemain schema show app_json` prints one to begin with"),
        (" \n ", "t.json:1:1: the file is empty"),
        ("[]", "t.json:1:1: a schema is an object, { \"name\": … }: `firemain schema show"),
        ("\n 7", "t.json:2:2: a schema is an object"),
        ("null", "t.json:1:1: a schema is an object"),
        ("\"x\"", "t.json:1:1: a schema is an object"),
        ("\u{feff}{}", "t.json:1:2: missing field `name`: add it"),
        ("x", "t.json:1:1: no value of JSON: texts are in double quotes"),
        ("{", "t.json:1:1: the file ends too early"),
        ("{} {", "t.json:1:2: missing field `name`"),
        (
            "{\"description\": \"äöü\", \"name\": 7, \"version\": 1}",
            "t.json:1:32: a string is wanted here, not the number 7",
        ),
        ("{\n \"version\": \"1\"}", "t.json:2:15: a whole number, 0 or more, is wanted here, not the string \"1\""),
        ("{\"version\": 1.5}", "t.json:1:15: a whole number, 0 or more, is wanted here, not the number 1.5"),
        ("{\"columns\": {}}", "t.json:1:13: a list is wanted here, not an object"),
        ("{\"columns\": [[]]}", "t.json:1:14: an object is wanted here, not a list"),
        ("{\"columns\": [\"a\"]}", "t.json:1:16: an object is wanted here, not the string \"a\""),
        ("{\"columns\": [{\"name\": \"a\"}]}", "t.json:1:26: missing field `type`: add it"),
        ("{\"columns\": [{\"required\": \"no\"}]}", "t.json:1:30: true or false is wanted here, not the string \"no\""),
        ("{\"parse\": \"json\"}", "t.json:1:16: an object is wanted here, not the string \"json\""),
        ("{\"parse\": []}", "t.json:1:11: an object is wanted here, not a list"),
        ("{\"parse\": {}}", "t.json:1:13: \"parse\" has one of `json`, `delimited`, `regex` and `grok`"),
        ("{\"parse\": {\"json\": {}, \"grok\": {\"patterns\": []}}}", "t.json:1:49: \"parse\" has one of"),
        ("{\"parse\": {\"json\": 7}}", "t.json:1:20: an object is wanted here, not the number 7"),
        (
            "{\"parse\": {\"delimited\": {\"delimiter\": \";;\"}}}",
            "t.json:1:43: a single character is wanted here, not the string \";;\"",
        ),
        ("{\"name\": \"a\", \"name\": \"b\"}", "t.json:1:20: duplicate field `name`: keep one"),
        ("{\"name\": \"a\",}", "t.json:1:14: a comma too many: remove it"),
    ] {
        let error = Schema::parse("t.json", text, None).map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}\n{expected}: {text}");
    }
    let error = Schema::parse("t.json", "{\n \"name\" 1", None).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "t.json:2:9: expected `:`");
}

#[test]
fn schemas_of_ones_own_are_read_from_a_folder_and_take_the_place_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let message = r#"{"name":"message","type":"string","required":true}"#;
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let own = file(message, "").replace("\"t\"", "\"app_json\"");
    write("a.json", &own);
    write("b.json", &file(message, ""));
    write("notes.txt", "nothing");
    let library = Library::open(Some(folder.path())).unwrap();
    assert_eq!(library.get("app_json").unwrap().columns.len(), 1);
    assert_eq!((library.text("app_json").unwrap(), library.get("t").unwrap().name.as_str()), (own.as_str(), "t"));
    assert!(library.get("nope").is_none() && library.names().starts_with("alb_access, "));

    write("c.json", &own);
    let twice = Library::open(Some(folder.path())).unwrap_err().to_string();
    assert!(twice.ends_with("c.json are both the schema app_json: rename one"), "{twice}");
    write("c.json", &own.replace("app_json", "log_events"));
    assert!(Library::open(Some(folder.path())).unwrap_err().to_string().contains("can't be another"));
    write("c.json", &own.replace("app_json", "replayed"));
    let taken = Library::open(Some(folder.path())).unwrap_err().to_string();
    assert!(taken.contains("is called replayed, as the folder of what was replayed is"), "{taken}");
    write("c.json", "{}");
    let wrong = Library::open(Some(folder.path())).unwrap_err().to_string();
    assert!(wrong.ends_with("c.json:1:2: missing field `name`: add it"), "{wrong}");
    std::fs::write(folder.path().join("c.json"), b"\xff").unwrap();
    let wrong = Library::open(Some(folder.path())).unwrap_err().to_string();
    assert!(wrong.contains("c.json can't be read: ") && wrong.contains("UTF-8"), "{wrong}");
    let nowhere = Library::open(Some(&folder.path().join("x"))).unwrap_err().to_string();
    assert!(nowhere.contains("can't be read"), "{nowhere}");
}

fn table(schema: &Schema, format: FormatKind, partitions: Partitions) -> TableIn<'_> {
    TableIn { schema, name: "t", location: "s3://lake/logs/t/", format, partitions }
}

#[test]
fn the_ddl_has_every_column_and_no_path_template() {
    let schema = Library::open(None).unwrap().get("alb_access").unwrap().clone();
    let registered = table(&schema, FormatKind::Parquet, Partitions::Registered).ddl(Dialect::Athena);
    for column in &schema.columns {
        assert!(registered.contains(&format!("\n  `{}` ", column.name)), "{}", column.name);
    }
    assert!(registered.contains("  `response_time` timestamp COMMENT 'When the answer began to go to the client.'"));
    assert!(registered.contains("`actions_executed` array<string>"));
    assert!(registered.contains("\nSTORED AS PARQUET\nLOCATION 's3://lake/logs/t/'\n"));
    assert!(!registered.contains("projection"));
    let projected = table(&schema, FormatKind::Json, Partitions::Projected { days: 7 }).ddl(Dialect::Athena);
    for part in [
        "ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'",
        "'projection.log_group.type' = 'injected'",
        "'projection.dt.range' = 'NOW-7DAYS,NOW+1DAYS'",
        "'projection.hour.digits' = '2'",
        "-- Partitions are projected",
        "each hour that is not ruled out is listed",
    ] {
        assert!(projected.contains(part), "{part} is not in {projected}");
    }
    assert!(!projected.contains("storage.location.template"));
    let apostrophes = Schema { description: "it's".to_owned(), ..Schema::clone(&schema) };
    assert!(
        table(&apostrophes, FormatKind::Json, Partitions::Registered).ddl(Dialect::Athena).contains("COMMENT 'it’s'")
    );
}

#[test]
fn the_table_input_of_glue_says_the_same_as_the_ddl() {
    let schema = Schema::log_events();
    let input = table(&schema, FormatKind::Parquet, Partitions::Registered).glue();
    let columns = input["StorageDescriptor"]["Columns"].as_array().unwrap();
    assert_eq!(columns[1]["Name"], "timestamp");
    assert_eq!(columns[1]["Type"], "timestamp");
    assert_eq!(columns.len(), schema.columns.len());
    assert_eq!(input["PartitionKeys"].as_array().unwrap().len(), 3);
    assert_eq!(input["Parameters"]["firemain.schema.version"], "1");
    let errors = Schema::errors();
    let input = table(&errors, FormatKind::Json, Partitions::Projected { days: 30 }).glue();
    assert_eq!(input["Parameters"]["projection.error.type"], "enum");
    let codes = input["Parameters"]["projection.error.values"].as_str().unwrap();
    assert!(codes.contains("Record.NotDecodable") && codes.contains("Table.Mismatch"));
    assert_eq!(input["StorageDescriptor"]["SerdeInfo"]["SerializationLibrary"], "org.openx.data.jsonserde.JsonSerDe");
}

/// The document's examples hold: its file of a schema is one, its rules name schemas and fields that there are.
#[test]
fn the_examples_of_the_document_hold() {
    let document = include_str!("../../docs/tables.md");
    let blocks = |language: &str| {
        let fence = format!("```{language}\n");
        let blocks = document.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
        blocks.collect::<Vec<_>>()
    };
    let [file] = blocks("json").try_into().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("orders.json"), file).unwrap();
    let library = Library::open(Some(folder.path())).unwrap();
    let schema = library.get("orders").unwrap();
    let mut cells = Vec::new();
    let message = r#"22.03.2024 06:30:00;7;12.50;"a,b""#;
    schema.rows.as_ref().unwrap().extract(&mut Scratch::default(), message, &mut cells).unwrap();

    let [rules, mask] = blocks("toml").try_into().unwrap();
    let rules = rules.replace("schemas_dir", "#");
    let config = format!("destination = \"memory:///\"\nsource.file.paths = [\"x\"]\n{rules}\n{mask}");
    let config = config::load(Layer::new(), [], Some(("tables.md", &config))).unwrap().config;
    assert!(config.tables.len() == 3 && config.mask.is_some());
    library.tables(&config.tables).unwrap();
}

#[test]
fn rules_with_other_fields_fill_one_table() {
    let file = "destination = \"memory:///\"\nsource.file.paths = [\"a\"]\n\
        [[table]]\nschema = \"vpc_flow\"\nlog_groups = [\"/a\"]\n\
        [[table]]\nschema = \"vpc_flow\"\nlog_groups = [\"/b\"]\nfields = [\"bytes\", \"version\"]\n";
    let config = config::load(Layer::new(), [], Some(("c.toml", file))).unwrap().config;
    let tables = Library::open(None).unwrap().tables(&config.tables).unwrap();
    let (a, b) = (tables.route("/a"), tables.route("/b"));
    assert_eq!((a.table, tables.iter().count()), (b.table, 2));
    let extract = |rows: Option<&Extractor>, message| {
        rows.unwrap()
            .extract(&mut Scratch::default(), message, &mut Vec::new())
            .map_err(|mismatch| mismatch.to_string())
    };
    assert_eq!(extract(b.rows, "840 2"), Ok(()));
    assert_eq!(extract(b.rows, "840 2 3 4"), Err("the message has 4 fields, of 2".to_owned()));
    assert_eq!(extract(a.rows, "840 2"), Err("the message has 2 fields, of 14".to_owned()));
}
