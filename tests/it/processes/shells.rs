//! `completions`, as the shells understand it: each loads its script as the help says, and is asked
//! what a person at its prompt is offered.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::Process;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mana-sync");

/// Runs a script of a shell, with the program on its path. Gives what it printed: what is offered
/// for `mana-sync` followed by `ta`, `tail --`, `tail --op ` and `completions `, an empty line
/// behind each.
async fn offered(shell: &[&str], script: &str) -> [BTreeSet<String>; 4] {
    let folder = Path::new(PROGRAM).parent().unwrap().display();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg(script).current_dir(home.path());
    command.env("PATH", path).env("HOME", home.path()).env("TERM", "dumb");
    let mut process = Process::spawn(&mut command);
    assert_eq!(process.ended().await.code(), Some(0), "{shell:?}: {}", process.err());
    let out = process.out();
    let parts: Vec<_> = out.trim_end().split("\n\n").map(words).collect();
    parts.try_into().unwrap_or_else(|_| panic!("{shell:?}: {out}{}", process.err()))
}

/// The first word of each line.
fn words(text: &str) -> BTreeSet<String> {
    let first = |line: &str| line.split_whitespace().next().map(ToOwned::to_owned);
    text.lines().filter_map(first).collect()
}

/// The long options of `tail`, as its help lists them.
async fn options() -> BTreeSet<String> {
    let mut help = Process::start("tail", &["--help"]);
    assert_eq!(help.ended().await.code(), Some(0));
    let options = words(&help.out().replace("-h, ", ""));
    let options: BTreeSet<_> = options.into_iter().filter(|word| word.starts_with("--")).collect();
    assert!(options.contains("--user") && options.contains("--help"), "{options:?}");
    options
}

async fn is_what_there_is([command, long, ops, mut shells]: [BTreeSet<String>; 4]) {
    let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(command, set(&["tail"]));
    assert_eq!(long, options().await);
    assert_eq!(ops, set(&["insert", "update", "delete"]));
    // Bash also offers options where an argument may stand.
    shells.retain(|word| !word.starts_with('-'));
    assert_eq!(shells, set(&["bash", "elvish", "fish", "powershell", "zsh"]));
}

#[tokio::test]
async fn bash_completes() {
    let script = r#"
        source <(mana-sync completions bash)
        function=$(complete -p mana-sync | sed 's/.*-F \([^ ]*\).*/\1/')
        offered() {
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            "$function" mana-sync "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            printf '%s\n' "${COMPREPLY[@]}" ''
        }
        offered mana-sync ta
        offered mana-sync tail --
        offered mana-sync tail --op ''
        offered mana-sync completions ''
    "#;
    is_what_there_is(offered(&["bash", "--norc", "--noprofile", "-c"], script).await).await;
}

#[tokio::test]
async fn fish_completes() {
    let script = "
        mana-sync completions fish | source
        for line in 'ta' 'tail --' 'tail --op ' 'completions '
            complete -C \"mana-sync $line\"
            echo
        end
    ";
    is_what_there_is(offered(&["fish", "--private", "--no-config", "-c"], script).await).await;
}

/// Only a zsh that reads from a terminal completes: one is typed to.
#[tokio::test]
async fn zsh_completes() {
    let script = r#"
        mkdir functions && mana-sync completions zsh > functions/_mana-sync
        zmodload zsh/zpty
        zpty shell zsh -f -i
        typed() { zpty -w -n shell $1 && zpty -r shell seen "*$2*" }
        typed $'PS1=; bindkey -e; fpath=($PWD/functions $fpath); autoload -U compinit; compinit -u -D; print BEG""UN\n' BEGUN
        typed $'mana-sync ta\t' 'mana-sync tail '
        print tail; print
        # A list ends where the line is shown again.
        for line in 'tail --' 'tail --op ' 'completions '; do
            typed $'\x15\n' $'\n'
            typed "mana-sync $line"$'\t' $'\n*mana-sync '$line
            print -r -- ${${seen#*$'\n'}%mana-sync*} | sed 's/ -- .*//' | tr -s ' \r' '\n' | grep .
            print
        done
    "#;
    is_what_there_is(offered(&["zsh", "-f", "-c"], script).await).await;
}
