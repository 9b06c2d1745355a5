//! `firemain completions` and `firemain man`: for the shell that it is typed into, and for who reads manuals.

use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, Failure, output};

pub const COMPLETIONS: &str = "\
Examples:
  firemain completions bash > /etc/bash_completion.d/firemain
  firemain completions zsh > \"${fpath[1]}/_firemain\"
  firemain completions fish > ~/.config/fish/completions/firemain.fish";

pub const MAN: &str = "\
Examples:
  firemain man | man -l -                           read it
  firemain man --out /usr/local/share/man/man1      a page for it, and one for each command";

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Whose completions
    shell: Shell,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// A folder to write all pages to; without it the first one goes to standard output
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

pub fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "firemain", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}

pub fn man(args: &ManArgs) -> Result<(), Failure> {
    let mut command = Cli::command();
    command.build();
    match &args.out {
        None => output::print(&String::from_utf8_lossy(&page(&command, "firemain"))),
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
            write(&command, "firemain", folder)
        }
    }
}

/// A page for a command, and one for each below it.
fn write(command: &Command, name: &str, folder: &Path) -> Result<(), Failure> {
    let path = folder.join(format!("{name}.1"));
    std::fs::write(&path, page(command, name)).map_err(|error| unwritable(&path, &error))?;
    let below = command.get_subcommands().filter(|below| below.get_name() != "help");
    below.into_iter().try_for_each(|below| write(below, &format!("{name}-{}", below.get_name()), folder))
}

fn page(command: &Command, name: &str) -> Vec<u8> {
    let mut page = Vec::new();
    let man =
        Man::new(command.clone()).title(name.to_uppercase()).source(concat!("firemain ", env!("CARGO_PKG_VERSION")));
    man.render(&mut page).expect("a vector takes what is written");
    page
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("--out {}: {error}; name a folder that can be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_that_shows_its_flags() {
        let folder = tempfile::tempdir().unwrap();
        man(&ManArgs { out: Some(folder.path().to_owned()) }).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let mut command = Cli::command();
        command.build();
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            assert!(read(&format!("firemain-{}.1", below.get_name())).starts_with(".ie"), "{}", below.get_name());
        }
        assert!(read("firemain-replay.1").contains("dry\\-run") && read("firemain-schema-ddl.1").contains("location"));
    }
}
