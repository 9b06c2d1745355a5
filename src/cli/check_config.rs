//! `firemain check-config`: is it valid, and what counts?

use super::{ConfigArgs, Failure};

pub fn run(args: &ConfigArgs) -> Result<(), Failure> {
    let loaded = args.load()?;
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let key = width(&mut loaded.values.iter().map(|(key, ..)| key.len()));
    let value = width(&mut loaded.values.iter().map(|(_, value, _)| value.len())).min(60);
    for (path, text, origin) in &loaded.values {
        println!("{path:key$}  {text:value$}  {origin}");
    }
    Ok(())
}
