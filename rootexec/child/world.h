// What Begin and Terminate find around them in ROOT, which is what they find in a ROOT of the user's own.
#pragma once

#include <string>
#include <vector>

namespace dtpnode {

/// Makes gROOT the current directory, to which new histograms and trees go, as they do where a user begins. Objects of
/// an output list are in none: the list sees to that.
void enterUserWorld();

/// Writes all canvases that there are into the current folder, a file for each of the formats ("pdf", "png", "C"...),
/// named as the canvas. Characters that are no letters, digits, or one of "._-" become "_"; of several canvases of a
/// name the later ones get _2, _3... A file that is there is replaced, unless it is one of those that are spared: the
/// canvas gets -canvas behind its name then. It returns the names, and adds to failed the names of those that could not
/// be written, with the reason.
std::vector<std::string> saveCanvases(const std::vector<std::string> &formats, const std::vector<std::string> &spared,
                                      std::vector<std::string> &failed);

} // namespace dtpnode
