//! What the four fuzz targets run. `scripts/fuzz` gives them bytes without end; the tests give
//! them the inputs that are kept in `corpus/`.

pub mod checks;
