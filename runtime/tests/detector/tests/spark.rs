//! `pipe` in Spark. Needs Java and `pip install pyspark`; `PERISTYLE_PYTHON` names another Python than `python3`.

mod support;

use std::path::Path;
use std::process::Command;

use support::{BLUE, Ended, Folder};

#[test]
fn spark_gives_the_answers_of_one_process() {
    let python = std::env::var("PERISTYLE_PYTHON").unwrap_or_else(|_| "python3".into());
    let ready = Command::new(&python).args(["-c", "import pyspark"]).output().is_ok_and(|o| o.status.success());
    if !ready || Command::new("java").arg("-version").output().is_err() {
        eprintln!("SKIPPED: no Spark here; install Java 17 and `pip install pyspark`");
        return;
    }
    let folder = Folder::new();
    let mut paths = String::new();
    for number in 0..12u32 {
        let name = format!("in/{number}.png");
        folder.picture(&name, [128, 128], &[(BLUE, [number, 10, 20 + 3 * number, 50 + number])]);
        paths += &format!("{}\n", folder.join(&name).display());
    }
    paths += "/missing.png\n{\"id\": \"an object\", \"image\": 3}\n";
    std::fs::write(folder.join("paths.txt"), paths).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("spark_pipe.py");
    let mut spark = Command::new(&python);
    spark.arg(script).args([env!("CARGO_BIN_EXE_peristyle-stand-in"), "paths.txt", "3"]).current_dir(folder.path());
    let ended: Ended = spark.env("PYSPARK_PYTHON", &python).output().unwrap().into();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(ended.out, "14 answers, 12 objects, 2 errors: the same with Spark and in one process\n");
}
