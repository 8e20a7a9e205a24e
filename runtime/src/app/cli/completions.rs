//! `completions`: what a shell needs to complete this program's command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Context};
use crate::app::failure::Failure;

/// Print completions for a shell
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  DETECTOR completions bash > ~/.local/share/bash-completion/completions/DETECTOR
  DETECTOR completions zsh > ~/.zfunc/_DETECTOR
  DETECTOR completions fish > ~/.config/fish/completions/DETECTOR.fish

Exit codes: 0 printed, 2 wrong use.")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), context.program, &mut script);
    context.console.out.write_all(&script)?;
    Ok(())
}
