//! Downloads from a server of our own, which answers as good and bad mirrors do.

use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Files that hold `digits` and `labels`; the digests are by another implementation.
const GOOD: [Contents; 2] = [
    Contents { name: "first", length: 6, sha256: "cc6b6bad31a0ff4d6dfd4953a6346a1c463d884723898a2af964b998e5499e22" },
    Contents { name: "second", length: 6, sha256: "d772ebb4590212c65cc31888ee55c3a893d866d8479f84a4c0ca36918a3fa75f" },
];

/// A mirror: the answer to each request is `answer` of its path. Knows which paths were asked for.
struct Server {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &answer, &log);
            }
        });
        Server { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, answer: &impl Fn(&str) -> Vec<u8>, log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(|line| line.ok());
    let request = lines.next().unwrap_or_default();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let bytes = answer(&path);
    log.lock().unwrap().push(path);
    // A client that has seen enough may have hung up.
    let _ = stream.write_all(&bytes);
}

fn reply(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A mirror that has both files right.
fn good(path: &str) -> Vec<u8> {
    match path {
        "first.gz" => reply(&gzipped(b"digits")),
        "second.gz" => reply(&gzipped(b"labels")),
        _ => not_found(path),
    }
}

fn not_found(_: &str) -> Vec<u8> {
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_vec()
}

/// The reason why nothing comes of a mirror that answers everything with `answer`; also checks that nothing stays.
fn refusal(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> String {
    let (server, folder) = (Server::start(answer), tempfile::tempdir().unwrap());
    let error = download(&[&server.address], &GOOD, &folder.path().join("mnist")).unwrap_err();
    assert!(!folder.path().join("mnist").exists(), "nothing may stay behind");
    match error {
        Error::Download { url, reason } => {
            assert_eq!(url, format!("{}first.gz", server.address));
            reason
        }
        error => panic!("not a failed download: {error}"),
    }
}

#[test]
fn files_come_into_the_folder_as_they_are() {
    let (server, home) = (Server::start(good), tempfile::tempdir().unwrap());
    let folder = home.path().join("new").join("folder");
    download(&[&server.address], &GOOD, &folder).unwrap();
    assert_eq!(std::fs::read(folder.join("first.gz")).unwrap(), gzipped(b"digits"));
    assert_eq!(std::fs::read(folder.join("second.gz")).unwrap(), gzipped(b"labels"));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
}

#[cfg(unix)]
#[test]
fn others_may_read_the_cache_as_the_umask_allows() {
    use std::os::unix::fs::PermissionsExt;
    let (server, folder) = (Server::start(good), tempfile::tempdir().unwrap());
    download(&[&server.address], &GOOD, folder.path()).unwrap();
    std::fs::write(folder.path().join("plain"), b"text").unwrap();
    let mode = |name| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
    assert_eq!(mode("first.gz"), mode("plain"));
}

#[test]
fn the_next_mirror_is_asked_and_then_comes_first() {
    let (bad, right, folder) = (Server::start(not_found), Server::start(good), tempfile::tempdir().unwrap());
    download(&[&bad.address, &right.address], &GOOD, folder.path()).unwrap();
    assert_eq!(bad.asked(), ["first.gz"]);
    assert_eq!(right.asked(), ["first.gz", "second.gz"]);
}

#[test]
fn wrong_files_are_refused() {
    assert!(refusal(not_found).contains("404"));
    assert!(refusal(|_| reply(b"<html>")).starts_with("it is no whole gzip file: "));
    let half = gzipped(b"digits")[..12].to_vec();
    assert!(refusal(move |_| reply(&half)).starts_with("it is no whole gzip file: "));
    assert_eq!(refusal(|_| reply(&gzipped(b"digit"))), "its contents have 5 bytes instead of 6");
    let bomb = gzipped(&vec![0; 1 << 24]);
    assert_eq!(refusal(move |_| reply(&bomb)), "its contents have 7 or more bytes instead of 6");
    let reason = refusal(|_| reply(&gzipped(b"digitz")));
    assert!(reason.starts_with("the SHA-256 of its contents is "), "{reason}");
    assert!(reason.ends_with(&format!(" instead of {}", GOOD[0].sha256)), "{reason}");
}

#[test]
fn answers_without_an_end_are_refused() {
    let broken = refusal(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec());
    assert!(broken.contains("disconnected"), "{broken}");
    let endless = refusal(|_| [&reply(b"")[..17], b"\r\n", &vec![0; LIMIT as usize + 1][..]].concat());
    assert!(endless.contains("limit"), "{endless}");
}

#[test]
fn without_a_server_the_reason_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let error = download(&[&address], &GOOD, tempfile::tempdir().unwrap().path()).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot download {address}first.gz: ")), "{error}");
    let error = download(&[], &GOOD, tempfile::tempdir().unwrap().path()).unwrap_err();
    assert_eq!(error.to_string(), "cannot download first: no mirror");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let (server, file) = (Server::start(good), tempfile::NamedTempFile::new().unwrap());
    let error = download(&[&server.address], &GOOD, &file.path().join("mnist")).unwrap_err();
    assert!(matches!(error, Error::Io { action: "create", .. }), "{error}");
}
