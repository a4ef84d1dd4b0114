// What Begin and Terminate find around them in ROOT, which is what they find in a ROOT of the user's own.
#pragma once

#include <string>
#include <vector>

class TCollection;

namespace dtpnode {

/// Makes gROOT the current directory, to which new histograms and trees go, as they do where a user begins.
void enterUserWorld();

/// Gives the objects of an output list, and of lists in it, to gROOT if they are of a kind that lives in directories
/// and have none. There they would be had one process made them, so that FindObject, Get and Draw find them.
void adoptByROOT(const TCollection &output);

/// Writes all canvases that there are into the current folder, a file for each of the formats ("pdf", "png", "C"...),
/// named as the canvas. Characters that are no letters, digits, or one of "._-" become "_"; of several canvases of a
/// name the later ones get _2, _3... A file that is there is replaced. It returns the names, and adds to failed the
/// names of those that could not be written, with the reason.
std::vector<std::string> saveCanvases(const std::vector<std::string> &formats, std::vector<std::string> &failed);

} // namespace dtpnode
