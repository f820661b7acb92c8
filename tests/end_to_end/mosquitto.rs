//! A real broker for the length of a test.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running mosquitto without persistence; killed without a word when dropped.
pub(super) struct Mosquitto {
    pub(super) port: u16,
    directory: tempfile::TempDir,
    process: Option<Child>,
}

impl Mosquitto {
    /// Starts a broker on a free port with further lines of configuration; `{dir}` in them is its directory.
    pub(super) fn start(configuration: &str, files: &[(&str, &[u8])]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        for (name, content) in files {
            std::fs::write(directory.path().join(name), content).unwrap();
        }
        let configuration = configuration.replace("{dir}", &directory.path().to_string_lossy());
        let text = format!(
            "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\n{configuration}\n"
        );
        std::fs::write(directory.path().join("mosquitto.conf"), text).unwrap();
        let mut broker = Self { port, directory, process: None };
        broker.restart();
        broker
    }

    /// Ends the process at once; what it had not sent is lost.
    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts the process again on the same port.
    pub(super) fn restart(&mut self) {
        self.kill();
        let configuration = self.directory.path().join("mosquitto.conf");
        let started = ["mosquitto", "/usr/sbin/mosquitto"].iter().find_map(|program| {
            let mut command = Command::new(program);
            command.arg("-c").arg(&configuration).stdout(Stdio::null()).stderr(Stdio::null());
            match command.spawn() {
                Ok(process) => Some(process),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => panic!("cannot start {program}: {error}"),
            }
        });
        self.process =
            Some(started.expect("mosquitto is not installed; install the packages mosquitto and mosquitto-clients"));
        self.wait_until_listening();
    }

    fn wait_until_listening(&mut self) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        #[expect(clippy::disallowed_methods, reason = "a test may look at the clock")]
        let give_up = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            let ended = self.process.as_mut().and_then(|process| process.try_wait().unwrap());
            assert!(ended.is_none(), "mosquitto ended by itself: {ended:?}");
            #[expect(clippy::disallowed_methods, reason = "a test may look at the clock")]
            let now = Instant::now();
            assert!(now < give_up, "mosquitto does not listen on {address}");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
