//! A command at a pseudo-terminal, whose screen a terminal emulator keeps.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};

use crate::harness::{Place, wait_for};

/// Time limit for the end of a command.
const AT_MOST: Duration = Duration::from_secs(60);

/// Lines that the emulator keeps above its screen.
const SCROLLBACK: usize = 2_000;

/// What the emulator knows.
struct Shown {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

/// A command whose standard streams are a terminal, which is the controlling one.
pub(crate) struct Terminal {
    child: Child,
    keyboard: File,
    device: OwnedFd,
    shown: Arc<Mutex<Shown>>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts `rollbook` at a terminal of this size.
    pub(crate) fn start(place: &Place, line: &str, rows: u16, columns: u16) -> Self {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = openpty(&size, None).unwrap();
        let controlling = ["setsid", "--ctty"].map(str::to_owned);
        let mut command = place.command_behind(&controlling, line);
        let stream = || Stdio::from(pair.slave.try_clone().unwrap());
        command
            .env("TERM", "xterm-256color")
            .stdin(stream())
            .stdout(stream())
            .stderr(stream());
        let child = command.spawn().unwrap();
        // The command keeps streams too.
        drop(command);
        let shown = Arc::new(Mutex::new(Shown {
            parser: vt100::Parser::new(some(rows), some(columns), SCROLLBACK),
            bytes: Vec::new(),
        }));
        let mut screen = File::from(pair.master.try_clone().unwrap());
        let into = Arc::clone(&shown);
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(bytes @ 1..) = screen.read(&mut chunk) {
                let mut shown = into.lock().unwrap();
                shown.parser.process(&chunk[..bytes]);
                shown.bytes.extend_from_slice(&chunk[..bytes]);
            }
        });
        Self {
            child,
            keyboard: File::from(pair.master),
            device: pair.slave,
            shown,
            reader: Some(reader),
        }
    }

    /// The text on the screen.
    pub(crate) fn screen(&self) -> String {
        self.shown.lock().unwrap().parser.screen().contents()
    }

    /// The screen and everything above it.
    pub(crate) fn history(&self) -> String {
        let mut shown = self.shown.lock().unwrap();
        let screen = shown.parser.screen_mut();
        let rows = usize::from(screen.size().0.get());
        screen.set_scrollback(usize::MAX);
        let above = screen.scrollback();
        let mut text = String::new();
        // Page by page; the last page is the screen itself.
        let mut left = above;
        loop {
            screen.set_scrollback(left);
            let page = screen.contents();
            let fresh = if left == 0 { rows } else { rows.min(left) };
            for line in page.lines().take(fresh) {
                text.push_str(line);
                text.push('\n');
            }
            if left == 0 {
                break;
            }
            left = left.saturating_sub(rows);
        }
        screen.set_scrollback(0);
        text
    }

    /// Everything that was written to the terminal, with its control sequences.
    pub(crate) fn written(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap().bytes).into_owned()
    }

    /// Row and column of the cursor, and whether it is hidden.
    pub(crate) fn cursor(&self) -> ((u16, u16), bool) {
        let shown = self.shown.lock().unwrap();
        let screen = shown.parser.screen();
        (screen.cursor_position(), screen.hide_cursor())
    }

    /// Waits until the screen shows this.
    #[track_caller]
    pub(crate) fn until(&self, text: &str) {
        let deadline = Instant::now() + AT_MOST;
        while !self.screen().contains(text) {
            assert!(
                Instant::now() < deadline,
                "waited {AT_MOST:?} for `{text}` on the screen:\n{}\n--- above\n{}",
                self.screen(),
                self.history()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Types this.
    pub(crate) fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Changes the size of the terminal, which tells the program.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        self.shown
            .lock()
            .unwrap()
            .parser
            .screen_mut()
            .set_size(some(rows), some(columns));
        let device = Stdio::from(self.device.try_clone().unwrap());
        let size = [rows.to_string(), columns.to_string()];
        let set = Command::new("stty")
            .args(["rows", &size[0], "cols", &size[1]])
            .stdin(device)
            .status();
        assert!(set.unwrap().success());
    }

    /// Waits for the end; returns the exit code.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> Option<i32> {
        let mut code = None;
        wait_for("the command at the terminal to end", || {
            let ended = self.child.try_wait().unwrap();
            code = ended.and_then(|status| status.code());
            ended.is_some()
        });
        // What it wrote last is read.
        std::thread::sleep(Duration::from_millis(200));
        code
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The reader ends when no one has the terminal open any more; that may be never, if the
        // command left something behind.
        drop(self.reader.take());
    }
}

fn some(size: u16) -> NonZeroU16 {
    NonZeroU16::new(size).unwrap()
}
