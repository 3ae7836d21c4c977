//! `xlr top`: domains live, driven by keys; or as a table again and again for scripts.

mod keys;
mod model;
mod render;
mod sample;
mod screen;

pub use model::{Model, Sort};

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::context::Context;
use crate::view::colour::Paint;
use crate::view::json;
use model::Step;
use sample::Sample;
use screen::{Screen, Signal};

/// How often to look; none for until somebody leaves.
pub type Iterations = Option<u64>;

/// Prints samples one after the other, as JSON (an array a line) or as xentop's table.
///
/// # Errors
/// Hypervisor, store or standard output fail.
pub fn run_batch(context: &mut Context, model: &Model, iterations: Iterations, as_json: bool) -> Result<()> {
    let mut before: Option<Sample> = None;
    let mut left = iterations;
    while left != Some(0) {
        if before.is_some() {
            std::thread::sleep(model.delay);
        }
        let sample = sample::take(context, before.as_ref(), model.vcpus)?;
        let text = if as_json {
            let rows: Vec<_> = model.arrange(&sample.rows).iter().map(|row| row.record()).collect();
            serde_json::to_string(&rows)? + "\n"
        } else {
            render::batch(&sample, model)
        };
        if !json::write_out(&text)? {
            return Ok(());
        }
        before = Some(sample);
        left = left.map(|left| left - 1);
    }
    Ok(())
}

/// Shows samples on the terminal until a key ends it.
///
/// # Errors
/// Hypervisor, store or terminal fail; the terminal is put right before.
pub fn run_live(context: &mut Context, mut model: Model, iterations: Iterations) -> Result<()> {
    let mut screen = Screen::enter()?;
    let mut sample = sample::take(context, None, model.vcpus)?;
    let mut looks = 1;
    let mut next = Instant::now() + model.delay.min(Duration::from_millis(500));
    loop {
        draw(&mut screen, &sample, &model)?;
        let step = wait(&mut screen, &mut model, &sample, next)?;
        if step == Step::Quit {
            return Ok(());
        }
        let due = Instant::now() >= next && !model.frozen;
        if step == Step::Refresh || due {
            if iterations == Some(looks) {
                return Ok(());
            }
            sample = sample::take(context, Some(&sample), model.vcpus)?;
            looks += 1;
            next = Instant::now() + model.delay;
        }
    }
}

fn draw(screen: &mut Screen, sample: &Sample, model: &Model) -> Result<()> {
    let clock = jiff::Zoned::now().strftime("%H:%M:%S").to_string();
    let lines = render::screen(sample, model, &clock, screen.size(), Paint::stdout());
    Ok(screen.draw(&lines)?)
}

/// Waits for a key, a signal or the time of the next look.
fn wait(screen: &mut Screen, model: &mut Model, sample: &Sample, next: Instant) -> Result<Step> {
    let stdin = io::stdin();
    let mut fds = [
        PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
        PollFd::new(screen.signals(), PollFlags::POLLIN),
    ];
    let left = next.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    let timeout = if model.frozen {
        PollTimeout::NONE
    } else {
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    };
    match poll(&mut fds, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ready = |index: usize| fds[index].any().unwrap_or(false);
    let (typed, signalled) = (ready(0), ready(1));
    if signalled && screen.take_signal()? == Some(Signal::End) {
        return Ok(Step::Quit);
    }
    if !typed {
        return Ok(Step::Redraw);
    }
    let mut bytes = [0; 64];
    let count = stdin.lock().read(&mut bytes)?;
    if count == 0 {
        return Ok(Step::Quit);
    }
    let mut last = Step::Stay;
    for key in keys::parse(&bytes[..count]) {
        let step = model.press(key, sample.rows.len());
        if step == Step::Quit {
            return Ok(step);
        }
        if last != Step::Refresh && step != Step::Stay {
            last = step;
        }
    }
    Ok(last)
}
