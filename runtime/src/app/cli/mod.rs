//! Commands and their arguments.

mod about;
mod annotate;
mod argv;
mod benchmark;
mod check;
mod class_names;
mod completions;
mod detect;
mod drawing;
mod eval;
mod finder;
mod infer;
mod lambda;
mod legacy;
mod model;
mod params;
mod pictures;
mod pipe;
mod profile;
mod runs;
mod saving;
mod selftest;
mod serve;
mod sweep;
mod tensors;
mod timing;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::Path;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use super::failure::Failure;
use super::threads::expect_startable;
use super::{Compiled, Console, NewEngine, available_cores};
use crate::engine::{Infer, ModelSpec};

#[derive(Parser)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Detect(detect::DetectArgs),
    Annotate(annotate::AnnotateArgs),
    Pipe(pipe::PipeArgs),
    Serve(serve::ServeArgs),
    Lambda(lambda::LambdaArgs),
    Eval(eval::EvalArgs),
    Benchmark(benchmark::BenchmarkArgs),
    Sweep(sweep::SweepArgs),
    Profile(profile::ProfileArgs),
    Infer(infer::InferArgs),
    Check(check::CheckArgs),
    Selftest(selftest::SelftestArgs),
    About(about::AboutArgs),
    Completions(completions::CompletionsArgs),
}

/// What every command gets.
pub(super) struct Context<'a, 'b> {
    pub new: NewEngine,
    pub spec: &'static ModelSpec,
    /// The models that `serve` offers: the one that the command line names, or all of the program.
    pub models: &'a [Compiled],
    /// File name of the program.
    pub program: &'a str,
    pub console: &'a mut Console<'b>,
}

impl Context<'_, '_> {
    /// An engine on the threads that `--threads` asks for, or on every core that this process may use.
    fn engine(&self, threads: Option<NonZeroUsize>) -> Result<Box<dyn Infer>, Failure> {
        self.engine_by(threads, "--threads")
    }

    /// The same when another option chooses the threads.
    fn engine_by(&self, threads: Option<NonZeroUsize>, option: &str) -> Result<Box<dyn Infer>, Failure> {
        let threads = threads.map_or_else(available_cores, NonZeroUsize::get);
        let engine = expect_startable(threads).and_then(|()| (self.new)(threads));
        engine.map_err(|error| Failure::threads(threads, &error, option))
    }
}

/// Runs the command in `args`, the first of which is the program's path; returns the exit code.
pub(super) fn run(mut args: Vec<OsString>, models: &[Compiled], console: &mut Console<'_>) -> u8 {
    let program = args
        .first()
        .and_then(|path| Path::new(path).file_name())
        .map_or_else(|| models[0].spec.name.to_owned(), |name| name.to_string_lossy().into_owned());
    let chosen = match model::take(&mut args, models) {
        Ok(chosen) => chosen,
        Err(message) => {
            console.complain(format_args!("error: {message}"));
            return 2;
        }
    };
    let Compiled { new, spec } = chosen[0];
    let matches = describe(&program, spec, models).try_get_matches_from(argv::normalise(args));
    let cli = match matches.and_then(|m| Cli::from_arg_matches(&m)) {
        Ok(cli) => cli,
        Err(message) => return print_clap(&message, console),
    };
    let mut context = Context { new, spec, models: chosen, program: &program, console };
    let result = match cli.command {
        Command::Detect(args) => detect::run(&args, &mut context),
        Command::Annotate(args) => annotate::run(&args, &mut context),
        Command::Pipe(args) => pipe::run(&args, &mut context),
        Command::Serve(args) => serve::run(&args, &mut context),
        Command::Lambda(args) => lambda::run(&args, &mut context),
        Command::Eval(args) => eval::run(&args, &mut context),
        Command::Benchmark(args) => benchmark::run(&args, &mut context),
        Command::Profile(args) => profile::run(&args, &mut context),
        Command::Infer(args) => infer::run(&args, &mut context),
        Command::Sweep(args) => sweep::run(&args, &mut context),
        Command::Check(args) => check::run(&args, &mut context),
        Command::Selftest(args) => selftest::run(&args, &mut context),
        Command::About(args) => about::run(&args, &mut context),
        Command::Completions(args) => completions::run(&args, &mut context),
    };
    let result = result.and_then(|()| Ok(console.out.flush()?));
    match result {
        Ok(()) => 0,
        Err(failure) => {
            if let Failure::Usage(message) | Failure::Failed(message) = &failure {
                console.complain(format_args!("error: {message}"));
            }
            failure.exit_code()
        }
    }
}

/// Help and version go to the output, usage errors to the error output.
fn print_clap(message: &clap::Error, console: &mut Console<'_>) -> u8 {
    let text = message.render();
    let text = if console.color { text.ansi().to_string() } else { text.to_string() };
    if message.use_stderr() {
        let _ = console.err.write_all(text.as_bytes());
        2
    } else {
        let _ = console.out.write_all(text.as_bytes());
        0
    }
}

/// The command line with the texts that depend on the model. They live as long as the process.
fn describe(program: &str, spec: &'static ModelSpec, models: &[Compiled]) -> clap::Command {
    let keep = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let about = match &spec.detector {
        Some(head) => format!("Finds objects of {} classes in images with {}.", head.classes, spec.source),
        None => format!("Runs {}.", spec.source),
    };
    let version = format!("(compiled by peristyle {})\n{}", spec.compiler, model_lines(spec));
    let program = keep(program.to_owned());
    let mut command = Cli::command().name(program).bin_name(program).about(keep(about)).version(keep(version));
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in names {
        command = command.mut_subcommand(name, |sub| match sub.get_after_help().map(|text| text.to_string()) {
            Some(examples) => sub.after_help(keep(examples.replace("DETECTOR", program))),
            None => sub,
        });
    }
    let lines = format!("{}\ncompiler: peristyle {}", model_lines(spec), spec.compiler);
    command.after_help(keep(format!("{EXIT_CODES}\n\n{}{lines}", model::help(program, models))))
}

/// What the program's exit codes mean; the help of a command says more.
const EXIT_CODES: &str = "\
Exit codes:
  0    everything went well
  1    something or a check failed, if only for one image of many; the error output names it
  2    the command line makes no sense
  130  stopped by Ctrl-C or SIGTERM; what was done is saved";

fn model_lines(spec: &ModelSpec) -> String {
    let percent = |(all, nonzero): (u64, u64)| 100.0 * (1.0 - nonzero as f64 / all.max(1) as f64);
    let mut lines = format!("model:    {}\nsha256:   {}", spec.source, spec.sha256);
    for input in spec.inputs {
        lines += &format!("\ninput:    {} {:?} {:?}", input.name, input.dtype, input.shape);
    }
    for output in spec.outputs {
        lines += &format!("\noutput:   {} {:?} {:?}", output.name, output.dtype, output.shape);
    }
    let (weights, macs) = (spec.weights, spec.macs);
    lines += &format!("\nweights:  {}, {:.1} % of them zero", weights.0, percent(weights));
    lines + &format!("\nMACs:     {} per image, {:.1} % of them skipped", macs.0, percent(macs))
}
