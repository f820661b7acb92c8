//! A server that answers what it is told to, and keeps what it was asked.

use std::collections::VecDeque;
use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A request as it came.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    /// `GET /path?query`
    pub(super) line: String,
    /// Of `Authorization` or `X-Authorization`.
    pub(super) authorization: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

pub(super) struct Mock {
    pub(super) url: String,
    asked: mpsc::Receiver<Asked>,
    serving: JoinHandle<()>,
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Mock {
    /// Answers requests in this order: status and body.
    pub(super) async fn answering<S: Into<String>>(answers: impl IntoIterator<Item = (u16, S)>) -> Self {
        let mut answers: VecDeque<(u16, String)> =
            answers.into_iter().map(|(status, body)| (status, body.into())).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, asked) = mpsc::channel(16);
        let serving = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = answers.pop_front().unwrap_or((599, "nothing more was to be asked".to_owned()));
                let (sender, answer) = (sender.clone(), &answer);
                let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let sender = sender.clone();
                    async move {
                        sender.send(read(request).await).await.unwrap();
                        let response = hyper::Response::builder().status(answer.0);
                        // Where a redirect leads would be seen by what is asked there.
                        let response = response.header("Location", "/elsewhere");
                        Ok::<_, Infallible>(response.body(Full::new(Bytes::from(answer.1.clone()))).unwrap())
                    }
                });
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            }
        };
        #[expect(clippy::disallowed_methods, reason = "a server of a test")]
        let serving = tokio::spawn(serving);
        Self { url, asked, serving }
    }

    /// All that was asked.
    pub(super) fn asked(&mut self) -> Vec<Asked> {
        std::iter::from_fn(|| self.asked.try_recv().ok()).collect()
    }

    /// The lines of all that was asked.
    pub(super) fn lines(&mut self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

async fn read(request: hyper::Request<hyper::body::Incoming>) -> Asked {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let body = body.collect().await.unwrap().to_bytes();
    Asked {
        line: format!("{} {}", head.method, head.uri),
        authorization: header("authorization").or_else(|| header("x-authorization")),
        content_type: header("content-type"),
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}
