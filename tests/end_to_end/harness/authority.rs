//! Certificates as the `openssl` command makes them.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A certificate authority of the `openssl` command.
pub(crate) struct Authority {
    folder: TempDir,
}

impl Authority {
    pub(crate) fn make(name: &str) -> Self {
        let authority = Self { folder: TempDir::new().unwrap() };
        let subject = format!("/CN={name}");
        let mut arguments =
            vec!["req", "-x509", "-days", "2", "-subj", &subject, "-out", "ca.crt", "-keyout", "ca.key"];
        arguments.extend(NEW_KEY);
        arguments.extend(["-addext", "basicConstraints=critical,CA:TRUE"]);
        authority.openssl(&arguments);
        authority
    }

    pub(crate) fn certificate(&self) -> String {
        self.read("ca.crt")
    }

    /// Certificate and key, both PEM, for a server or device of this name.
    pub(crate) fn issue(&self, name: &str) -> (String, String) {
        self.issue_for(name, 2)
    }

    /// The same, valid for so many days from now on.
    pub(crate) fn issue_for(&self, name: &str, days: u32) -> (String, String) {
        let (subject, extension) = (format!("/CN={name}"), format!("subjectAltName=DNS:{name}\n"));
        std::fs::write(self.folder.path().join("extension"), extension).unwrap();
        let mut arguments = vec!["req", "-subj", &subject, "-out", "server.csr", "-keyout", "server.key"];
        arguments.extend(NEW_KEY);
        self.openssl(&arguments);
        let sign = format!(
            "x509 -req -days {days} -in server.csr -CA ca.crt -CAkey ca.key -set_serial 2 -extfile extension -out server.crt"
        );
        self.openssl(&sign.split(' ').collect::<Vec<_>>());
        (self.read("server.crt"), self.read("server.key"))
    }

    fn openssl(&self, arguments: &[&str]) {
        let made = Command::new("openssl").args(arguments).current_dir(self.folder.path()).output();
        let made = made.unwrap_or_else(|error| panic!("openssl: {error}; run `tests/run packages`"));
        assert!(made.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(Path::new(self.folder.path()).join(name)).unwrap()
    }
}

const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
