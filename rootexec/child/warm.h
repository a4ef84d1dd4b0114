// What ROOT loads at first use is loaded once here, before the forks, so that no fork has to load it.
#pragma once

namespace dtpnode {

/// Loads libraries and dictionaries, and runs what a generation runs (trees, readers, caches,
/// decompression, streaming and merging of output objects) over small data in memory. No user code.
void warmUp();

} // namespace dtpnode
