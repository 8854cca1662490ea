//! Builds the command line of each process of a layout.

use tokio::process::Command;

use super::{Role, System};
use crate::natsd;
use crate::process;
use crate::storm::StormError;
use crate::storm::plans::SHARED_URL;

impl System {
    pub(super) fn command(&self, name: &str, role: Role) -> Result<Command, StormError> {
        if let Role::Nats(number) = role {
            let server = self.nats.get(number);
            let server = server.ok_or_else(|| StormError::Silent {
                what: name.to_owned(),
            })?;
            return Ok(server.command()?);
        }
        let mut command = process::clean(&self.rollbook);
        if let Some(postgres) = &self.postgres {
            command.env(SHARED_URL, postgres.url());
        }
        let port = |number: usize| self.ports.get(number).copied().unwrap_or_default();
        let urls: Vec<String> = self
            .links(name)
            .iter()
            .map(|proxy| format!("nats://127.0.0.1:{}", proxy.port()))
            .collect();
        let urls = urls.join(",");
        let objects = self.directory.join("objects");
        match role {
            Role::Up => {
                command
                    .env("ROLLBOOK_NATS_SERVER", natsd::program()?)
                    .arg("up")
                    .arg("--data-dir")
                    .arg(self.directory.join(".rollbook"))
                    .args(["--listen", &format!("127.0.0.1:{}", port(0))]);
            }
            Role::Serve(number) => {
                let views = self.views.get(number).map_or("", String::as_str);
                command
                    .args(["serve", "--nats", &urls])
                    .args(["--replicas", &self.nats.len().to_string()])
                    .args(["--database", views])
                    .arg("--objects")
                    .arg(objects)
                    .args(["--listen", &format!("127.0.0.1:{}", port(number))]);
            }
            Role::Worker(number) => {
                command
                    .args(["worker", "--nats", &urls])
                    .arg("--objects")
                    .arg(objects)
                    .args(["--name", &format!("worker-{number}")]);
            }
            Role::Nats(_) => {}
        }
        Ok(command)
    }

    /// The command of a process, for a caller that watches how it ends.
    pub(crate) fn own_command(&self, name: &str) -> Result<Command, StormError> {
        let role = self.members.get(name).map(|member| member.role);
        let role = role.ok_or_else(|| StormError::Silent {
            what: name.to_owned(),
        })?;
        let mut command = self.command(name, role)?;
        command.current_dir(&self.directory);
        Ok(command)
    }
}
