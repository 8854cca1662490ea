//! A container credentials agent that provides the keys of a role, as on AWS.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use crate::s3::{S3, allowing, element};

const TOKEN: &str = "this-container";

/// Runs until the tests end.
pub(crate) struct Agent {
    port: u16,
    directory: tempfile::TempDir,
}

impl Agent {
    /// Provides the keys of a role that may use a server to clients with the token.
    pub(crate) fn of(server: &S3) -> Self {
        let [key, secret, token] = role(server);
        let keys = serde_json::json!({
            "AccessKeyId": key,
            "SecretAccessKey": secret,
            "Token": token,
            "Expiration": jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &keys.to_string());
            }
        });
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("token"), TOKEN).unwrap();
        Self { port, directory }
    }

    /// The variables that point a container at the agent.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let uri = format!("http://127.0.0.1:{}/v1/credentials", self.port);
        vec![
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri),
            (
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                self.token().display().to_string(),
            ),
        ]
    }

    /// The token file.
    pub(crate) fn token(&self) -> PathBuf {
        self.directory.path().join("token")
    }
}

/// The keys of a role that may do everything, for an hour, and the token that goes with them.
fn role(server: &S3) -> [String; 3] {
    let policy = allowing(r#"["s3:*"]"#);
    let taken = server.unchecked(|| {
        let made =
            server.iam("Action=CreateRole&RoleName=container&AssumeRolePolicyDocument=%7B%7D");
        server.iam(&format!(
            "Action=PutRolePolicy&RoleName=container&PolicyName=p&PolicyDocument={policy}"
        ));
        let role = element(&made, "Arn");
        server.form(
            "sts",
            &format!("Action=AssumeRole&RoleArn={role}&RoleSessionName=s&Version=2011-06-15"),
        )
    });
    ["AccessKeyId", "SecretAccessKey", "SessionToken"].map(|name| element(&taken, name))
}

/// Handles one request.
fn answer(mut stream: TcpStream, keys: &str) {
    let head = BufReader::new(stream.try_clone().unwrap()).lines();
    let head: Vec<String> = head
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let known = head.iter().any(|line| {
        let header = line.split_once(": ");
        header.is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("authorization") && value == TOKEN
        })
    });
    let (status, body) = if known {
        ("200 OK", keys)
    } else {
        ("403 Forbidden", "")
    };
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
}
