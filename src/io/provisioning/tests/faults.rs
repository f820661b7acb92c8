//! Servers that refuse, fail, are silent or are not there: the same for every kind.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const KINDS: [ProvisionKind; 3] = [ProvisionKind::Leshan, ProvisionKind::ThingsBoard, ProvisionKind::Coiote];

/// The error when the first request has this answer.
async fn error_for(kind: ProvisionKind, status: u16, body: &str) -> String {
    let mut mock = Mock::answering([(status, body)]).await;
    let error = told(&target(kind, mock.url.clone()), &psk()).await.unwrap_err();
    assert_eq!(mock.asked().len(), 1, "nothing is asked after an error: {error}");
    assert!(error.starts_with(&mock.url) && !error.contains('\n'), "{error}");
    for secret in [PASSWORD, KEY_HEX, "t-123456"] {
        assert!(!error.contains(secret), "{error}");
    }
    error
}

#[tokio::test]
async fn a_refusal_tells_the_status_the_servers_words_and_what_to_do() {
    for kind in KINDS {
        for (status, advice) in [
            (401, "check user and password"),
            (403, "what the user may do"),
            (404, "check the url and type"),
            (400, "check what the device gets"),
            (429, "too often"),
            (500, "the server's own log"),
            (503, "the server's own log"),
            (302, "final url"),
        ] {
            let error = error_for(kind, status, r#"{"status":1,"message":"this\nis why"}"#).await;
            assert!(error.contains(&format!("refused with {status} \"this is why\"")), "{error}");
            assert!(error.contains(advice), "{error}");
        }
    }
}

#[tokio::test]
async fn words_that_hold_a_secret_or_are_a_page_are_left_out_and_long_ones_are_cut() {
    let password_in_base64 = data_encoding::BASE64.encode(PASSWORD.as_bytes());
    for kind in KINDS {
        for body in [
            format!(r#"{{"message":"no {PASSWORD}"}}"#),
            format!(r#"{{"error":"wrong key {}"}}"#, KEY_HEX.to_uppercase()),
            format!("sent {password_in_base64}"),
            "<html>500</html>".to_owned(),
            String::new(),
        ] {
            let error = error_for(kind, 500, &body).await;
            assert!(error.contains("refused with 500: look"), "{error}");
        }
        let error = error_for(kind, 400, &"x".repeat(10_000)).await;
        assert!(error.len() < 500 && error.contains("xxx…"), "{error}");
    }
}

#[tokio::test]
async fn an_error_after_the_login_does_not_hold_the_token() {
    for (kind, login) in [
        (ProvisionKind::ThingsBoard, r#"{"token":"t-123456"}"#),
        (ProvisionKind::Coiote, r#"{"access_token":"t-123456"}"#),
    ] {
        let mock = Mock::answering([(200, login), (500, r#"{"message":"bad token t-123456"}"#)]).await;
        let error = told(&target(kind, mock.url.clone()), &psk()).await.unwrap_err();
        assert!(error.contains("refused with 500: look"), "{error}");
        let mock = Mock::answering([(200, r#"{"token":7,"access_token":null}"#)]).await;
        let error = told(&target(kind, mock.url.clone()), &psk()).await.unwrap_err();
        assert!(error.contains("gave no token"), "{error}");
        let mock = Mock::answering([(200, "{\"token\":\"a\\nbcde\",\"access_token\":\"a\\nbcde\"}")]).await;
        let error = told(&target(kind, mock.url.clone()), &psk()).await.unwrap_err();
        assert!(error.contains("characters that none can have") && !error.contains("bcde"), "{error}");
    }
}

#[tokio::test]
async fn answers_of_another_kind_of_server_are_told() {
    for (kind, login) in [
        (ProvisionKind::ThingsBoard, r#"{"token":"t-123456"}"#),
        (ProvisionKind::Coiote, r#"{"access_token":"t-123456"}"#),
    ] {
        for body in ["", "[]", "null", "{}", "<html>"] {
            let mut mock = Mock::answering([(200, login), (200, body)]).await;
            let error = told(&target(kind, mock.url.clone()), &psk()).await.unwrap_err();
            assert!(error.contains("provision.type"), "{error}");
            assert_eq!(mock.asked().len(), 2);
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_its_reason() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for kind in KINDS {
        let error = told(&target(kind, url.clone()), &psk()).await.unwrap_err();
        assert!(error.starts_with(&format!("{url}: cannot be asked: Connection refused")), "{error}");
        assert!(error.contains("whether the server runs"), "{error}");
    }
}

/// What comes of a server that sends this and then nothing more.
async fn error_of_half_an_answer(kind: ProvisionKind, sent: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        // Who answers before it was asked is no HTTP server.
        assert_ne!(stream.read(&mut [0; 4_096]).await.unwrap(), 0);
        stream.write_all(sent.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    };
    let times = Times { connect: Duration::from_secs(10), answer: Duration::from_millis(100) };
    let (target, credential, endpoint) = (target(kind, url), psk(), Endpoint::new(ENDPOINT).unwrap());
    tokio::select! {
        () = serving => unreachable!(),
        result = provision_within(times, &target, &endpoint, &credential) => result.unwrap_err(),
    }
}

#[tokio::test]
async fn a_server_that_is_silent_is_not_waited_for() {
    for kind in KINDS {
        for sent in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"token\":"] {
            let error = error_of_half_an_answer(kind, sent).await;
            assert!(error.contains("cannot be asked: it does not answer"), "{error}");
        }
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    for kind in KINDS {
        let mock = Mock::answering([(200, "x".repeat(300 << 10))]).await;
        let error = told(&target(kind, mock.url.clone()), &psk()).await.unwrap_err();
        assert!(error.contains("cannot be asked: length limit exceeded"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_this_system_does_not_believe_hears_no_password() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let own = crate::io::secure::own::load_or_make(folder.path(), "localhost", crate::io::clock::NOT_BEFORE).unwrap();
    let key = openssl::pkey::PKey::private_key_from_pem(own.private_key.pem.expose()).unwrap();
    let certificate = openssl::x509::X509::from_pem(own.certificate.pem.expose()).unwrap();
    let mut acceptor =
        openssl::ssl::SslAcceptor::mozilla_intermediate_v5(openssl::ssl::SslMethod::tls_server()).unwrap();
    acceptor.set_private_key(&key).unwrap();
    acceptor.set_certificate(&certificate).unwrap();
    let acceptor = acceptor.build();
    let serve = async || {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let ssl = openssl::ssl::Ssl::new(acceptor.context()).unwrap();
            let mut stream = tokio_openssl::SslStream::new(ssl, stream).unwrap();
            let shaken = std::pin::Pin::new(&mut stream).accept().await;
            assert!(shaken.is_err() || stream.read(&mut [0; 1]).await.unwrap_or(0) == 0);
        }
    };
    for kind in KINDS {
        let (target, credential) = (target(kind, format!("https://localhost:{}", address.port())), psk());
        let error = tokio::select! {
            () = serve() => unreachable!(),
            result = told(&target, &credential) => result.unwrap_err(),
        };
        assert!(error.contains("certificate verify failed"), "{error}");
    }
}

#[tokio::test]
async fn a_url_that_cannot_be_read_is_not_repeated() {
    for url in ["https://ops:hunter2-hunter2@host", "host", "ftp://host", "https://host?x"] {
        for kind in KINDS {
            let error = told(&target(kind, url.to_owned()), &psk()).await.unwrap_err();
            assert!(error.contains("like https://host:port") && !error.contains(PASSWORD), "{error}");
        }
    }
}

#[tokio::test]
async fn a_login_is_needed_where_the_server_has_one() {
    for kind in [ProvisionKind::ThingsBoard, ProvisionKind::Coiote] {
        let mut mock = Mock::answering([(200, "")]).await;
        let target = ProvisionTarget { user: None, ..target(kind, mock.url.clone()) };
        let error = told(&target, &psk()).await.unwrap_err();
        assert!(error.contains("needs a user and a password"), "{error}");
        assert_eq!(mock.asked(), []);
    }
}
