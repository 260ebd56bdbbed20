//! Which of the request's filters init needs beside those it has, and whether
//! it has them in the end.
#![forbid(unsafe_code)]

use std::fmt::Write as _;

use nix::unistd::getpid;

use super::{Before, During, Failure, Result, SECCOMP_MODE_FILTER, Tracer};
use crate::arm::existing::{Judgement, judge};
use crate::arm::{Layer, OnExisting};
use crate::sys::process::PidFd;
use crate::sys::seccomp::{self, Mode};

/// How init is known to be filtered as one layer asks for.
#[derive(Clone, Debug)]
pub(super) enum Seat {
    /// It has this program at this place, 0 being the oldest.
    Read(usize, Vec<u8>),
    /// It has more filters than this, says /proc.
    Count(u32),
}

impl<'a> Tracer<'a> {
    /// Decides for each layer; those that are to be loaded come back.
    pub(super) fn decide(&mut self, before: Before) -> Result<Vec<Layer<'a>>> {
        let existing = match before {
            Before::Readable(count) => (0..count)
                .map(|index| self.tracee.filter(index).during("read its filters"))
                .collect::<Result<Vec<_>>>()?,
            Before::Counted(_) => Vec::new(),
        };
        let mut loads = Vec::new();
        for layer in self.request.layers {
            match self.seat(layer, before, &existing)? {
                Some(seat) => self.seats.push(seat),
                None => loads.push(*layer),
            }
        }
        Ok(loads)
    }

    /// Where init already has what the layer asks for; `None` where the layer
    /// has to be loaded. Notes which and why.
    fn seat(
        &mut self,
        layer: &Layer<'_>,
        before: Before,
        existing: &[Vec<u8>],
    ) -> Result<Option<Seat>> {
        let count = match before {
            Before::Readable(count) => count as u64,
            Before::Counted(count) => count.into(),
        };
        let on_top = format!("loaded on top of {count}");
        let (seat, note) = match self.request.on_existing {
            _ if count == 0 => (None, "loaded".into()),
            OnExisting::Stack => (None, on_top),
            // What init inherits, the runtime has not loaded.
            OnExisting::Skip if count <= self.own_filters()? => (None, on_top),
            OnExisting::Skip => {
                let seat = existing
                    .last()
                    .map_or(Seat::Count(0), |bytes| newest(existing, bytes));
                (Some(seat), format!("left out, {count} there already"))
            }
            OnExisting::Verify if existing.is_empty() => {
                (None, on_top + ", which may not be read here")
            }
            OnExisting::Verify => verify(layer, existing, on_top),
        };
        let name = layer.name.escape_debug();
        // Writing to a string cannot fail.
        let _ = write!(self.notes, "; {name} {note}");
        Ok(seat)
    }

    /// How many filters this process has, and init with it: they are of
    /// whatever started the runtime. (In a startContainer hook the runtime's
    /// own is among them.)
    fn own_filters(&self) -> Result<u64> {
        if seccomp::mode().is_ok_and(|mode| mode == Mode::Disabled) {
            return Ok(0);
        }
        let this = PidFd::open(getpid()).during("look at itself")?;
        let proc = self.proc.as_ref().ok_or(Failure::Unverifiable)?;
        let own = proc.seccomp(&this).map_err(|_| Failure::Unverifiable)?;
        Ok(own.filters.into())
    }

    /// Checks that each filter is there that init was found or made to have.
    /// Others may have come on top: the runtime's own.
    pub(super) fn verify(&self) -> Result<()> {
        for seat in &self.seats {
            let holds = match seat {
                Seat::Read(index, program) => {
                    self.tracee.filter(*index).during("read the filter back")? == *program
                }
                Seat::Count(count) => {
                    let now = self.counted()?;
                    now.mode == SECCOMP_MODE_FILTER && now.filters > *count
                }
            };
            if !holds {
                return Err(Failure::Differs);
            }
        }
        match self.seats.len() == self.request.layers.len() {
            true => Ok(()),
            false => Err(Failure::Differs),
        }
    }
}

fn newest(existing: &[Vec<u8>], bytes: &[u8]) -> Seat {
    Seat::Read(existing.len() - 1, bytes.to_vec())
}

/// Looks for one filter that does what the layer asks for, the newest first:
/// that is the runtime's, older ones are of whatever started it.
fn verify(layer: &Layer<'_>, existing: &[Vec<u8>], on_top: String) -> (Option<Seat>, String) {
    let mut why = None;
    for (index, bytes) in existing.iter().enumerate().rev() {
        let judgement = judge(layer, bytes);
        if judgement.suffices() {
            let how = match judgement {
                Judgement::Same => "is the same",
                _ => "is as strict",
            };
            let note = format!("left out, filter {index} {how}");
            return (Some(Seat::Read(index, bytes.clone())), note);
        }
        why.get_or_insert(judgement);
    }
    let why = match why {
        Some(Judgement::Weaker(witness)) => format!(", weaker for {witness}"),
        Some(Judgement::Unknown(why)) => format!(", {why}"),
        _ => String::new(),
    };
    (None, on_top + &why)
}
