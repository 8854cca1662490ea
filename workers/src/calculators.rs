//! The port to the calculators built into this program: models of the user's deals, whose types and
//! figures the fleet does not know.

use std::sync::Arc;

use crate::compare::declaration::Declaration;
use crate::snapshot::Calculator;

/// The calculators that a program brings, and its declaration of types and figures.
pub trait Calculators: Send + Sync + std::fmt::Debug {
    /// The calculator of a snapshot that declares none: the model in a file, or the built-in one,
    /// with or without deal-type awareness.
    ///
    /// Pure: the same arguments give the same calculator in every program of the same version.
    ///
    /// # Errors
    /// The error says what is wrong with the file, with its code.
    fn built_in(
        &self,
        model: Option<&[u8]>,
        types_in_force: bool,
    ) -> Result<Arc<dyn Calculator>, String>;

    /// What comparisons need to know about types and figures. It also applies to the figures of
    /// users' own programs and queries, as far as these have the same names: the deals are the
    /// same.
    fn declaration(&self) -> Arc<dyn Declaration>;
}
