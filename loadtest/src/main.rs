//! Load and claims: measures a fleet of mana-sync nodes. Empty for now.

fn main() {}
