//! Reads a delivery a line, says of each whether the snippet takes it.

mod verify;

use http::{HeaderMap, HeaderValue};
use std::io::stdin;

fn main() {
    for line in stdin().lines() {
        let line = line.expect("a line of text");
        let fields: Vec<&str> = line.split('\t').collect();
        let mut headers = HeaderMap::new();
        for (name, value) in ["webhook-id", "webhook-timestamp", "webhook-signature"].into_iter().zip(&fields[1..4]) {
            headers.insert(name, HeaderValue::from_str(value).expect("the value of a header"));
        }
        match verify::verify(fields[0], &headers, fields[4].as_bytes()) {
            Ok(()) => println!("good"),
            Err(error) => println!("refused {error}"),
        }
    }
}
