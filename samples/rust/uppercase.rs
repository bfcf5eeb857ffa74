//! Its input in capital letters.
use std::io::{Read, Result, Write};

fn main() -> Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    std::io::stdout().write_all(text.to_uppercase().as_bytes())
}
