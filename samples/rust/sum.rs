//! The sum of the numbers in a JSON list.
use std::io::Read;
use std::process::exit;

fn main() {
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    match read.ok().and_then(|_| sum(&text)) {
        Some(sum) => println!("{}", sum),
        None => {
            eprintln!("the input is not a list of numbers");
            exit(1)
        }
    }
}

fn sum(text: &str) -> Option<f64> {
    let inside = text.trim().strip_prefix('[')?.strip_suffix(']')?.trim();
    if inside.is_empty() {
        return Some(0.0);
    }
    inside.split(',').map(|number| number.trim().parse::<f64>().ok()).sum()
}
