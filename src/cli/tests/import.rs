//! `import`: fragments for the configuration, and how the command ends.

use serde_json::json;

use super::*;

fn leshan(secret: &str) -> String {
    json!({ "pump": {
        "toDelete": ["/0"],
        "servers": { "0": { "shortId": 1 } },
        "security": { "0": {
            "uri": "coaps://dm.example", "securityMode": "PSK", "serverId": 1, "publicKeyOrId": [112],
            "secretKey": serde_json::from_str::<Json>(secret).unwrap(), "oscoreSecurityMode": 3,
        } },
    } })
    .to_string()
}

#[test]
fn the_fragment_goes_to_standard_output_and_what_is_lost_to_standard_error_too() {
    let ran = run_among(&[("bs.json", &leshan("[1,2]"))], &["import", "leshan", "bs.json"]);
    assert_eq!(ran.ending, Ending::Fine, "{}", ran.err);
    let note = "device pump: security.0.oscoreSecurityMode: a link to an OSCORE instance is not handed out";
    assert_eq!(ran.err, format!("note: {note}\n"));
    assert!(ran.out.starts_with(&format!("# {note}\n\n[bootstrap.device.pump]\n")), "{}", ran.out);
    assert!(ran.out.contains("\npsk_key = \"0102\"\n"), "{}", ran.out);
    let fragment: Json = toml::from_str(&ran.out).unwrap();
    assert_eq!(fragment["bootstrap"]["device"]["pump"]["servers"][0]["uri"], "coaps://dm.example");
}

#[test]
fn what_a_neighbour_has_is_accepted_by_check() {
    let thingsboard = json!([
        { "name": "Water meter", "transportConfiguration": { "bootstrap": [
            { "securityMode": "PSK", "host": "tb.example", "port": 5686 },
            { "securityMode": "NO_SEC", "host": "tb.example", "port": 5687, "bootstrapServerIs": true },
        ] } },
        { "client": { "endpoint": "urn:imei:1" }, "bootstrap": { "lwm2mServer": {
            "securityMode": "PSK", "clientPublicKeyOrId": "id", "clientSecretKey": "00112233",
        } } },
    ]);
    let bs_server = json!({ "node 1": { "serverURI": "coap://192.0.2.1:5683", "lifetime": 60 } });
    for (server, file, more) in [
        ("leshan", leshan("[1,2]"), "psk_key = \"0102\""),
        ("thingsboard", thingsboard.to_string(), "[bootstrap.server.Water-meter-bootstrap]"),
        ("bs-server", bs_server.to_string(), "[bootstrap.device.\"node 1\"]"),
    ] {
        let ran = run_among(&[("bs.json", &file)], &["import", server, "bs.json"]);
        assert_eq!(ran.ending, Ending::Fine, "{}", ran.err);
        assert!(ran.out.contains(more), "{}", ran.out);
        let checked = run_among(&[("imported.toml", &ran.out)], &["check", "--config", "imported.toml"]);
        assert_eq!(checked.ending, Ending::Fine, "{server}: {}", checked.out);
    }
}

#[test]
fn entries_that_no_device_could_use_are_left_out_by_import_and_told_by_check() {
    let bootstrap = |uri: &str| json!({ "bootstrapServer": true, "securityMode": "NO_SEC", "uri": uri });
    let two = json!({ "pump": { "security": { "0": bootstrap("coap://a"), "1": bootstrap("coap://b") } } });
    let ran = run_among(&[("bs.json", &two.to_string())], &["import", "leshan", "bs.json"]);
    assert_eq!((ran.ending, ran.out.as_str()), (Ending::Failed, ""));
    assert!(ran.err.contains("device pump: servers[1]: a device has at most one bootstrap account"), "{}", ran.err);

    let text = "[bootstrap.server.a]\ntype = \"bootstrap\"\nsecurity_mode = \"nosec\"\n\
                [bootstrap.device.pump]\nservers = [\"a\"]\n[bootstrap.device.well]\nservers = [\"b\"]\n";
    let ran = run_among(&[("c.toml", text)], &["check", "--config", "c.toml"]);
    assert_eq!(ran.ending, Ending::Wrong);
    let error = "c.toml: error: bootstrap.device.\"pump\".servers: there is no management account";
    assert!(ran.out.contains(error), "{}", ran.out);
    let warning = "c.toml: warning: bootstrap.device.\"well\": no server account 'b' stands in the configuration";
    assert!(ran.out.contains(warning), "{}", ran.out);
}

#[test]
fn files_that_are_no_configuration_end_it_with_2_and_those_without_anything_with_1() {
    let files = [
        ("text.json", "psk = s3cr3t"),
        ("list.json", "[]"),
        ("one.json", "{\"security\": {}}"),
        ("empty.json", "{\"pump\": {\"toDelete\": []}}"),
    ];
    for (file, told) in [
        ("text.json", "is no JSON: line 1, column 1"),
        ("list.json", "is no object"),
        ("one.json", "--endpoint"),
        ("none.json", "there is no file"),
    ] {
        let ran = run_among(&files, &["import", "leshan", file]);
        assert_eq!((ran.ending, ran.out.as_str()), (Ending::Wrong, ""), "{file}");
        assert!(ran.err.contains(told) && !ran.err.contains("s3cr3t"), "{}", ran.err);
    }
    assert_eq!(run_line(&["import", "awa", "x.json"]).ending, Ending::Wrong);
    let ran = run_among(&files, &["import", "leshan", "empty.json"]);
    assert_eq!((ran.ending, ran.out.as_str()), (Ending::Failed, ""));
    assert!(ran.err.contains("nothing could be carried over"), "{}", ran.err);
}
