//! `firemain health`: asks a worker on this machine whether it is well, for the health check of a container.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use clap::Args;

use super::{ConfigArgs, Failure, output};
use crate::inspect::shown::escaped;

pub const EXAMPLES: &str = "\
Asks /healthz of the worker at `http.listen`: it is well while its loops turn and what is due is committed within \
`stuck_after`. Exit code 0 when it is, 1 when it is not or does not answer.

Examples:
  firemain health                                   the worker at 127.0.0.1:9464
  firemain health --ready                           whether it also has what shards it may have, and commits in time
  HEALTHCHECK CMD [\"firemain\", \"health\"]            in a Dockerfile";

/// For the connection, and again for the answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// No answer is longer.
const LONGEST: u64 = 64 << 10;

#[derive(Debug, Args)]
pub struct HealthArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Where the worker listens, in place of http.listen
    #[arg(long, value_name = "ADDRESS:PORT")]
    address: Option<SocketAddr>,
    /// Ask /readyz instead
    #[arg(long)]
    ready: bool,
}

pub fn run(args: &HealthArgs) -> Result<(), Failure> {
    let listen = match args.address {
        Some(address) => address,
        None => {
            args.config.load_listen()?.ok_or_else(|| Failure::usage("`http.listen` is off: nobody can be asked"))?
        }
    };
    let address = reachable(listen);
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let (status, body) =
        ask(address, path).map_err(|error| Failure::fatal(format!("no worker answers at {address}: {error}")))?;
    match status {
        200 => output::print(&body.lines().map(|line| escaped(line) + "\n").collect::<String>()),
        _ => Err(Failure::fatal(body.trim_end().to_owned())),
    }
}

/// Who listens on all addresses is asked on this machine's own.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The status and the body of an answer.
fn ask(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let parts = status.zip(answer.split_once("\r\n\r\n"));
    let (status, (_, body)) = parts.ok_or_else(|| std::io::Error::other("what answers there is no HTTP server"))?;
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_here() {
        let asked = |listen: &str| reachable(listen.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:9464"), "127.0.0.1:9464");
        assert_eq!(asked("[::]:9464"), "[::1]:9464");
        assert_eq!(asked("10.0.0.7:80"), "10.0.0.7:80");
    }
}
