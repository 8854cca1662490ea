//! HTTPS in front of the tests' S3 server, with a certificate that no system trusts.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::s3::{S3, moto};

/// Stopped when dropped.
pub(crate) struct Https {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Https {
    /// Listens in front of a server.
    pub(crate) fn before(server: &S3) -> Self {
        let endpoint = server.endpoint();
        let (_, port) = endpoint.rsplit_once(':').unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/https.py"))
            .arg(port)
            .arg(directory.path())
            .env("PYTHONPATH", moto())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs the HTTPS of the tests");
        let mut said = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut said).unwrap();
        let port = said.trim().parse().expect("HTTPS says its port");
        Self {
            child,
            port,
            directory,
        }
    }

    /// The URL it listens on.
    pub(crate) fn endpoint(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The certificate of the authority that signed its own.
    pub(crate) fn authority(&self) -> String {
        self.directory.path().join("ca.pem").display().to_string()
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
