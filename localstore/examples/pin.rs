//! Prints the line of `pinned-runners` for the runner that is its argument; for `pin-runner`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args_os().nth(1).ok_or("the file of a runner is missing")?;
    let (hash, _) = nixstore::nar::nar_hash(file.as_ref())?;
    println!("{}", localstore::pinned::line(&hash));
    Ok(())
}
