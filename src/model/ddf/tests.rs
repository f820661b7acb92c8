//! Small files with what is met in the field, and files that must be refused.

use super::*;

/// A file with one object of this content.
fn file(content: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<LWM2M>\n<Object ObjectType=\"MODefinition\">\n{content}\n</Object>\n</LWM2M>\n"
    )
}

/// A file with one object of one resource of this content; the resource begins in line 7.
fn resource_file(item: &str) -> String {
    file(&format!("<Name>Pump</Name><ObjectID>33000</ObjectID>\n\n<Resources>\n{item}\n</Resources>"))
}

fn only_resource(item: &str) -> ResourceDefinition {
    parse(&resource_file(item)).unwrap().remove(0).resources.pop_first().unwrap().1
}

#[test]
fn complete_definition_is_read() {
    let xml = file(
        "<Name>Pump</Name><Description1><![CDATA[<b>bold</b>]]></Description1><ObjectID>33000</ObjectID>\
         <ObjectURN>urn:oma:lwm2m:x:33000:1.1</ObjectURN><LWM2MVersion>1.1</LWM2MVersion>\
         <ObjectVersion>1.1</ObjectVersion><MultipleInstances>Multiple</MultipleInstances><Mandatory>Mandatory</Mandatory>\
         <Resources><Item ID=\"7\"><Name>Flow &amp; Speed</Name><Operations>RW</Operations>\
         <MultipleInstances>Multiple</MultipleInstances><Mandatory>Mandatory</Mandatory><Type>Unsigned Integer</Type>\
         <RangeEnumeration>0..100</RangeEnumeration><Units>/100</Units><Description>Text</Description></Item></Resources>",
    );
    let object = parse(&xml).unwrap().remove(0);
    assert_eq!((object.id, object.version, object.enabler), (33_000, Version::V1_1, Version::V1_1));
    assert_eq!((object.name.as_str(), object.multiple, object.mandatory), ("Pump", true, true));
    let expected = ResourceDefinition {
        id: 7,
        name: "Flow & Speed".to_owned(),
        path_name: "flow_speed".to_owned(),
        operations: Operations { read: true, write: true, execute: false },
        multiple: true,
        mandatory: true,
        resource_type: Some(ResourceType::UnsignedInteger),
        range: "0..100".to_owned(),
        unit: "/100".to_owned(),
    };
    assert_eq!(object.resources, BTreeMap::from([(7, expected)]));
}

#[test]
fn byte_order_mark_and_missing_declaration_do_no_harm() {
    let with_mark = format!("\u{feff}{}", resource_file("<Item ID='0'/>"));
    assert_eq!(parse(&with_mark).unwrap().len(), 1);
    let bare = "<LWM2M><Object><ObjectID>5</ObjectID><Resources/></Object></LWM2M>";
    let object = parse(bare).unwrap().remove(0);
    assert_eq!((object.id, object.name.as_str()), (5, "Object 5"));
}

#[test]
fn versions_left_out_or_empty_are_1_0() {
    for versions in ["", "<ObjectVersion/><LWM2MVersion> </LWM2MVersion>", "<ObjectVersion>1</ObjectVersion>"] {
        let object = parse(&file(&format!("<ObjectID>5</ObjectID>{versions}<Resources/>"))).unwrap().remove(0);
        assert_eq!((object.version, object.enabler), (Version::V1_0, Version::V1_0), "{versions}");
    }
}

#[test]
fn empty_types_and_operations_are_none() {
    let resource = only_resource("<Item ID='3'><Name>Key</Name><Operations></Operations><Type/></Item>");
    assert_eq!((resource.resource_type, resource.operations), (None, Operations::default()));
    let executable = only_resource("<Item ID='3'><Operations>E</Operations><Type>String</Type></Item>");
    assert!(executable.operations.execute);
    assert_eq!(executable.resource_type, Some(ResourceType::String));
    assert_eq!((executable.name.as_str(), executable.path_name.as_str()), ("Resource 3", "resource_3"));
}

#[test]
fn all_spellings_of_types_are_read() {
    for (spelling, expected) in [
        ("String", ResourceType::String),
        ("Integer", ResourceType::Integer),
        ("UnsignedInteger", ResourceType::UnsignedInteger),
        ("float", ResourceType::Float),
        (" Boolean ", ResourceType::Boolean),
        ("Opaque", ResourceType::Opaque),
        ("Time", ResourceType::Time),
        ("Objlnk", ResourceType::ObjectLink),
        ("Corelnk", ResourceType::CoreLink),
        ("CoreLnk", ResourceType::CoreLink),
    ] {
        let resource = only_resource(&format!("<Item ID='3'><Type>{spelling}</Type></Item>"));
        assert_eq!(resource.resource_type, Some(expected), "{spelling}");
    }
}

#[test]
fn ranges_in_prose_are_kept_in_one_line() {
    let resource = only_resource(
        "<Item ID='3'><RangeEnumeration>0: off\n\t\t<!-- not in use -->1: on</RangeEnumeration><Units>\n</Units></Item>",
    );
    assert_eq!((resource.range.as_str(), resource.unit.as_str()), ("0: off 1: on", ""));
}

#[test]
fn several_objects_in_one_file_are_read() {
    let one = |id: u16| format!("<Object ObjectType='MODefinition'><ObjectID>{id}</ObjectID><Resources/></Object>");
    let xml = format!("<LWM2M>{}{}</LWM2M>", one(1), one(2));
    assert_eq!(parse(&xml).unwrap().iter().map(|object| object.id).collect::<Vec<_>>(), [1, 2]);
    let twice = format!("<LWM2M>{}\n{}</LWM2M>", one(1), one(1));
    let refused = parse(&twice).unwrap_err();
    assert_eq!(refused, DdfError { line: 2, cause: DdfCause::DuplicateObject(1, Version::V1_0) });
}

#[test]
fn what_would_change_the_meaning_is_refused_with_its_line() {
    for (item, line, message) in [
        ("<Item><Name>Speed</Name></Item>", 7, "the ID of an Item is missing"),
        ("\n<Item ID='65535'/>", 8, "the ID of an Item is '65535', expected a number from 0 to 65534"),
        ("<Item ID='-1'/>", 7, "the ID of an Item is '-1', expected a number from 0 to 65534"),
        ("<Item ID='1'/>\n<Item ID='1'/>", 8, "resource 1 is defined twice"),
        ("<Item ID='1'>\n<Operations>RX</Operations></Item>", 8, "Operations is 'RX', expected R, W, RW, E or nothing"),
        (
            "<Item ID='1'>\n<Mandatory>Maybe</Mandatory></Item>",
            8,
            "Mandatory is 'Maybe', expected Mandatory or Optional",
        ),
    ] {
        let refused = parse(&resource_file(item)).unwrap_err();
        assert_eq!(refused.to_string(), format!("line {line}: {message}"));
    }
    let refused = parse(&resource_file("<Item ID='1'><Type>Number</Type></Item>")).unwrap_err();
    assert!(refused.to_string().starts_with("line 7: Type is 'Number', expected String, Integer"), "{refused}");
    let refused = parse(&file("<ObjectID>5</ObjectID>\n<ObjectVersion>new</ObjectVersion><Resources/>")).unwrap_err();
    assert_eq!(refused.to_string(), "line 5: ObjectVersion is 'new', expected a version such as 1.1");
    let missing = parse(&file("<Name>Pump</Name><Resources/>")).unwrap_err();
    assert_eq!(missing, DdfError { line: 3, cause: DdfCause::Missing("ObjectID") });
    let missing = parse(&file("<ObjectID>5</ObjectID>")).unwrap_err();
    assert_eq!(missing, DdfError { line: 3, cause: DdfCause::Missing("Resources") });
}

#[test]
fn malformed_xml_is_refused_with_its_line() {
    let refused = parse("<LWM2M>\n<Object>\n</Objekt>\n</LWM2M>").unwrap_err();
    assert_eq!(refused.line, 3);
    assert!(matches!(refused.cause, DdfCause::Malformed(_)));
    for text in ["", "no xml", "<LWM2M>", "<LWM2M", "\u{0}", "<a/><b/>"] {
        assert!(matches!(parse(text).unwrap_err().cause, DdfCause::Malformed(_)), "{text}");
    }
}

#[test]
fn document_types_and_entities_are_refused() {
    let external = "<?xml version='1.0'?>\n<!DOCTYPE LWM2M [<!ENTITY secret SYSTEM 'file:///etc/passwd'>]>\n\
                    <LWM2M><Object><Name>&secret;</Name></Object></LWM2M>";
    assert_eq!(parse(external).unwrap_err(), DdfError { line: 2, cause: DdfCause::DocumentType });
    let undeclared = parse(&resource_file("<Item ID='1'>\n<Name>&secret;</Name></Item>")).unwrap_err();
    assert_eq!(undeclared.line, 8);
    assert!(matches!(undeclared.cause, DdfCause::Malformed(_)));
}

#[test]
fn files_without_a_definition_are_told_apart() {
    let common =
        "<LWM2M><Object ObjectType='CommonResources'><Resources><Item ID='4000'/></Resources></Object></LWM2M>";
    for text in [common, "<DDFList><Item/></DDFList>", "<LWM2M/>", "<html><Object/></html>"] {
        assert_eq!(parse(text).unwrap_err().cause, DdfCause::NoDefinition, "{text}");
    }
}

#[test]
fn long_and_deep_files_are_refused() {
    let long = resource_file(&" ".repeat(MAX_DDF_BYTES));
    assert_eq!(parse(&long).unwrap_err(), DdfError { line: 1, cause: DdfCause::TooLong(long.len()) });
    let many = resource_file(&"<a/>".repeat(MAX_DDF_NODES as usize));
    assert!(matches!(parse(&many).unwrap_err().cause, DdfCause::Malformed(_)));
    let deep = format!("{}{}", "<a>".repeat(50_000), "</a>".repeat(50_000));
    assert!(parse(&deep).is_err());
}
