//! `pipe`: a line of results for every line of input.

use std::io::{self, BufRead};
use std::num::NonZeroUsize;

use clap::Args;

use super::Context;
use super::finder::{Finder, FinderArgs};
use crate::app::failure::Failure;
use crate::app::report::JsonLine;
use crate::app::request::Request;

/// Bytes of the longest line that is read: a picture of the largest size, as base64.
const LONGEST_LINE: u64 = 768 << 20;

/// Answer each line on the input with a line of JSON, for Spark, Hadoop, GNU parallel and the like
///
/// A line of input is the path of an image, or an object {"image": ..., "id": ...} whose image is a path, a data: URI
/// or base64, and whose id, if any, is repeated in the answer. Answers come in the order of the lines and are written
/// at once: {"id", "image", "boxes", "scores", "labels", "class_ids"}, or {"id", "image", "error"} for what cannot be
/// read. Memory does not grow with the number of lines. The exit code is 0 when every line was answered, whatever the
/// answers.
#[derive(Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(super) struct PipeArgs {
    /// End with exit code 1 when an answer was an error
    #[arg(long)]
    strict: bool,

    /// Threads of the network [default: the cores that this process may use]
    #[arg(long, alias = "num-cores", value_name = "N")]
    threads: Option<NonZeroUsize>,

    #[command(flatten)]
    finder: FinderArgs,
}

const EXAMPLES: &str = "\
Examples:
  find photos -name '*.jpg' | ./detector pipe > boxes.jsonl
  parallel --pipe --keep-order -N 100 ./detector pipe --threads 1 < paths.txt > boxes.jsonl
  split -n l/4 --filter './detector pipe --threads 1 > $FILE.jsonl' paths.txt boxes.
  Spark:  sc.textFile(\"paths.txt\").pipe(\"./detector pipe --threads 1\").map(json.loads)
  Hadoop: hadoop jar hadoop-streaming.jar -files detector -mapper './detector pipe --threads 1' ...";

pub(super) fn run(args: &PipeArgs, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let mut finder = Finder::new(&args.finder, args.threads, "--threads", context)?;
    let failed = answer_lines(&mut io::stdin().lock(), context, &mut finder)?;
    if failed && args.strict { Err(Failure::Reported) } else { Ok(()) }
}

/// Answers every line of `input`; returns whether some answer was an error.
fn answer_lines(input: &mut impl BufRead, context: &mut Context<'_, '_>, finder: &mut Finder) -> Result<bool, Failure> {
    let mut line = Vec::new();
    let mut failed = false;
    while read_line(input, &mut line).map_err(|error| Failure::new(format_args!("cannot read the input: {error}")))? {
        let mut answer = answer(&line, finder, &mut failed)?;
        answer.push('\n');
        context.console.out.write_all(answer.as_bytes())?;
        context.console.out.flush()?;
    }
    Ok(failed)
}

fn answer(line: &[u8], finder: &mut Finder, failed: &mut bool) -> Result<String, Failure> {
    let mut answer = JsonLine::default();
    let request = Request::parse(line);
    if let Some(id) = &request.id {
        answer.field("id", id);
    }
    if let Some(name) = request.name() {
        answer.field("image", &name);
    }
    match request.open() {
        Ok(picture) => answer.detections(&finder.find(&picture)?, &finder.pipeline),
        Err(message) => {
            answer.field("error", &message);
            *failed = true;
        }
    }
    Ok(answer.end())
}

/// Reads a line without its end into `line`; `false` when there are no more. Of a line that is too long only the start
/// is kept.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    line.shrink_to(1 << 20);
    let read = io::Read::take(&mut *input, LONGEST_LINE).read_until(b'\n', line)?;
    if read as u64 == LONGEST_LINE && line.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(read > 0)
}
