//! The port to what this program computes by itself: a model of the user's deals, of which the
//! fleet knows neither types nor figures.

use std::sync::Arc;

use crate::compare::declaration::Declaration;
use crate::snapshot::Calculator;

/// The calculators that a program brings, and what it knows of types and figures.
pub trait Calculators: Send + Sync + std::fmt::Debug {
    /// What computes a snapshot that declares no calculator: by the model in a file, or else by
    /// the built-in one, with types in force or not. Pure; the same arguments give the same
    /// calculator in every program of the same version.
    ///
    /// # Errors
    /// What is wrong with the file, with its code.
    fn built_in(
        &self,
        model: Option<&[u8]>,
        types_in_force: bool,
    ) -> Result<Arc<dyn Calculator>, String>;

    /// What comparisons are told of types and figures. It holds for the figures of users' own
    /// programs and queries as well, as far as these have the same names: the deals are the same.
    fn declaration(&self) -> Arc<dyn Declaration>;
}
