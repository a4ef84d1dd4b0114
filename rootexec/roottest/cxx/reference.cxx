// reference: ROOT's own single-process TChain::Process of a selector, the output list written to a file.
//
//   reference --selector DiMuon.C --tree Events --out want.root [--first K] [--n N] [--option S]
//             [--param name=value]... [--build DIR] [--no-input] FILE...
//
// FILE may be file.root or file.root?#tree. fInput is a list with the parameters as TNamed, as PROOF
// gave it to selectors; --no-input leaves it null, as a plain TChain::Process does.
// Exit status: 0 done, 1 the selector could not be loaded or run, 2 usage.

#include <TChain.h>
#include <TFile.h>
#include <TList.h>
#include <TNamed.h>
#include <TROOT.h>
#include <TSelector.h>
#include <TSystem.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

struct Options {
   std::string selector, tree, out, option, build;
   Long64_t first = 0, n = TTree::kMaxEntries;
   bool input = true;
   std::vector<std::pair<std::string, std::string>> params;
   std::vector<std::string> files;
};

Options parse(int argc, char **argv)
{
   Options o;
   for (int i = 1; i < argc; ++i) {
      const std::string flag = argv[i];
      if (flag.compare(0, 2, "--") != 0) {
         o.files.push_back(flag);
         continue;
      }
      if (flag == "--no-input") {
         o.input = false;
         continue;
      }
      const std::string value = i + 1 < argc ? argv[++i] : "";
      if (flag == "--selector")
         o.selector = value;
      else if (flag == "--tree")
         o.tree = value;
      else if (flag == "--out")
         o.out = value;
      else if (flag == "--option")
         o.option = value;
      else if (flag == "--build")
         o.build = value;
      else if (flag == "--first")
         o.first = std::atoll(value.c_str());
      else if (flag == "--n")
         o.n = std::atoll(value.c_str());
      else if (flag == "--param" && value.find('=') != std::string::npos)
         o.params.emplace_back(value.substr(0, value.find('=')), value.substr(value.find('=') + 1));
      else {
         std::fprintf(stderr, "reference: bad argument %s %s\n", flag.c_str(), value.c_str());
         std::exit(2);
      }
   }
   return o;
}

bool write(const TSelector &selector, const std::string &path)
{
   TFile out(path.c_str(), "RECREATE");
   if (out.IsZombie())
      return false;
   for (TObject *o : *selector.GetOutputList())
      if (out.WriteTObject(o, o->GetName(), "SingleKey") <= 0)
         return false;
   out.Close();
   return true;
}

} // namespace

int main(int argc, char **argv)
{
   const Options o = parse(argc, argv);
   gROOT->SetBatch();
   if (!o.build.empty())
      gSystem->SetBuildDir(o.build.c_str());

   std::unique_ptr<TSelector> selector(TSelector::GetSelector((o.selector + "+").c_str()));
   if (!selector)
      return 1;
   TList input;
   input.SetOwner();
   for (const auto &p : o.params)
      input.Add(new TNamed(p.first.c_str(), p.second.c_str()));
   if (o.input)
      selector->SetInputList(&input);

   TChain chain(o.tree.c_str());
   for (const auto &f : o.files)
      if (chain.Add(f.c_str(), 0) == 0) // 0: opens the file
         return 1;
   // TChain::Process does this only when it is given a file name; without, Notify() finds no file
   chain.LoadTree(o.first);
   chain.Process(selector.get(), o.option.c_str(), o.n, o.first);
   if (!write(*selector, o.out)) {
      std::fprintf(stderr, "reference: could not write %s\n", o.out.c_str());
      return 1;
   }
   std::fflush(nullptr);
   _exit(0); // selectors leave canvases and files behind that ROOT's tear-down does not always survive
}
