//! A private S3 server for tests: moto as a separate process on a free loopback port, with one
//! bucket, and one user whose signatures it checks. It stops when dropped.
//!
//! moto comes from `ROLLBOOK_MOTO` or `.tools/moto` of the workspace, where `tools/install` puts
//! it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the server may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The bucket created at start.
pub const BUCKET: &str = "evidence-store";

/// A running server.
pub struct S3 {
    child: Child,
    port: u16,
    key: String,
    secret: String,
}

/// Returns the directory of moto; panics if there is none.
pub fn moto() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/moto/lib");
    let place = std::env::var_os("ROLLBOOK_MOTO").map_or(tools, PathBuf::from);
    assert!(
        place.join("moto").is_dir(),
        "no moto in ROLLBOOK_MOTO or .tools/moto: run `make setup`"
    );
    place
}

/// Returns a form-encoded policy that allows these actions on everything.
pub fn allowing(actions: &str) -> String {
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":{actions},"Resource":"*"}}]}}"#
    );
    policy.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Returns the text of the first element of this name.
pub fn element(document: &str, name: &str) -> String {
    let (_, rest) = document.split_once(&format!("<{name}>")).unwrap();
    rest.split_once('<').unwrap().0.to_owned()
}

impl S3 {
    /// Starts a server, and creates its user and its bucket.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let child = Command::new("python3")
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p"])
            .arg(port.to_string())
            .env("PYTHONPATH", moto())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 runs the S3 server of the tests");
        let mut server = Self {
            child,
            port,
            key: String::new(),
            secret: String::new(),
        };
        let deadline = Instant::now() + READY_WITHIN;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the S3 server does not answer");
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "the S3 server ended: {ended:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        server.iam("Action=CreateUser&UserName=rollbook");
        let made = server.iam("Action=CreateAccessKey&UserName=rollbook");
        server.key = element(&made, "AccessKeyId");
        server.secret = element(&made, "SecretAccessKey");
        server.allow(&["s3:*"]);
        let (status, _) = server.behind("PUT", &format!("/{BUCKET}"), b"");
        assert_eq!(status, 200);
        server
    }

    /// Returns the location to open the store with.
    pub fn location(&self) -> String {
        format!("s3://{BUCKET}/some/prefix")
    }

    /// Returns the server's endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the secret, which no message may contain.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Returns the environment variables of a permitted user.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL_S3", self.endpoint()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", self.key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret.clone()),
        ]
    }

    /// Replaces the user's permissions.
    pub fn allow(&self, actions: &[&str]) {
        let actions = format!("{actions:?}").replace(' ', "");
        let policy = allowing(&actions);
        self.unchecked(|| {
            self.iam(&format!(
                "Action=PutUserPolicy&UserName=rollbook&PolicyName=p&PolicyDocument={policy}"
            ))
        });
    }

    /// Returns the keys in the bucket, without unfinished uploads.
    pub fn keys(&self) -> Vec<String> {
        let (_, listed) = self.behind("GET", &format!("/{BUCKET}?list-type=2"), b"");
        let listed = String::from_utf8(listed).unwrap();
        let keys = listed.split("<Key>").skip(1);
        keys.map(|rest| rest.split_once('<').unwrap().0.to_owned())
            .collect()
    }

    /// Returns stored bytes, bypassing the store.
    pub fn content(&self, key: &str) -> Vec<u8> {
        let (status, content) = self.behind("GET", &format!("/{BUCKET}/{key}"), b"");
        assert_eq!(status, 200, "{key}");
        content
    }

    /// Replaces stored bytes, bypassing the store.
    pub fn replace(&self, key: &str, content: &[u8]) {
        let (status, _) = self.behind("PUT", &format!("/{BUCKET}/{key}"), content);
        assert_eq!(status, 200, "{key}");
    }

    /// Stops answering.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn behind(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        self.unchecked(|| self.send("s3", method, path, body))
    }

    /// Makes requests while signatures are not checked.
    pub fn unchecked<T>(&self, ask: impl FnOnce() -> T) -> T {
        self.check_signatures(false);
        let answer = ask();
        self.check_signatures(true);
        answer
    }

    fn check_signatures(&self, check: bool) {
        let unchecked = if check { "0" } else { "inf" };
        let (status, _) = self.send("s3", "POST", "/moto-api/reset-auth", unchecked.as_bytes());
        assert_eq!(status, 200);
    }

    /// Sends a request to the IAM service and returns the answer.
    pub fn iam(&self, form: &str) -> String {
        self.form("iam", &format!("{form}&Version=2010-05-08"))
    }

    /// Sends a form to a service and returns the answer.
    pub fn form(&self, service: &str, form: &str) -> String {
        let (status, answer) = self.send(service, "POST", "/", form.as_bytes());
        let answer = String::from_utf8(answer).unwrap();
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// Sends one request without a valid signature; its scope tells moto the service.
    fn send(&self, service: &str, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let media_type = match service {
            "s3" => "application/octet-stream",
            _ => "application/x-www-form-urlencoded",
        };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=none\r\n\
             Content-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let body = answer.split_off(end.unwrap() + 4);
        let status = String::from_utf8(answer).unwrap();
        (status.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.stop();
    }
}
