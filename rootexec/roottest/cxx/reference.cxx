// reference: ROOT's own single-process TChain::Process of a selector, the output list written to a file.
//
//   reference --selector DiMuon.C --tree Events --out want.root [--first K] [--n N] [--option S]
//             [--param name=value]... [--build DIR] [--no-input] [--entry-list FILE:NAME]
//             [--friend TREE=FILE[,FILE]...]... FILE...
//
// FILE may be file.root or file.root?#tree. fInput is a list with the parameters as TNamed, as PROOF
// gave it to selectors; --no-input leaves it null, as a plain TChain::Process does. A friend in one file is added by
// its names, one in several as a TChain; with TREE[MAJOR,MINOR] an index is made of it.
// Exit status: 0 done, 1 the selector could not be loaded or run, 2 usage.

#include <TChain.h>
#include <TEntryList.h>
#include <TEventList.h>
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
   std::string list;
   std::vector<std::string> friends;
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
      else if (flag == "--entry-list")
         o.list = value;
      else if (flag == "--friend")
         o.friends.push_back(value);
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

std::vector<std::string> cut(const std::string &text, char at)
{
   std::vector<std::string> out{""};
   for (const char c : text)
      if (c == at)
         out.emplace_back();
      else
         out.back() += c;
   return out;
}

void addFriend(TChain &chain, const std::string &text)
{
   const auto equal = text.find('=');
   std::string tree = text.substr(0, equal);
   const auto files = cut(text.substr(equal + 1), ',');
   std::vector<std::string> key;
   if (const auto open = tree.find('['); open != std::string::npos) {
      key = cut(tree.substr(open + 1, tree.size() - open - 2), ',');
      tree = tree.substr(0, open);
   }
   if (files.size() == 1 && key.empty()) {
      chain.AddFriend(tree.c_str(), files[0].c_str());
      return;
   }
   auto *other = new TChain(tree.c_str()); // for as long as the chain
   for (const auto &f : files)
      other->Add(f.c_str());
   if (!key.empty())
      other->BuildIndex(key[0].c_str(), key.size() > 1 ? key[1].c_str() : "0");
   chain.AddFriend(other);
}

bool setList(TChain &chain, const std::string &text)
{
   const auto colon = text.rfind(':');
   auto *file = TFile::Open(text.substr(0, colon).c_str()); // for as long as the list
   TObject *list = file ? file->Get(text.substr(colon + 1).c_str()) : nullptr;
   if (auto *entries = dynamic_cast<TEntryList *>(list))
      chain.SetEntryList(entries);
   else if (auto *events = dynamic_cast<TEventList *>(list))
      chain.SetEventList(events);
   else
      return false;
   return true;
}

} // namespace

int program(int argc, char **argv)
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
   for (const auto &f : o.friends)
      addFriend(chain, f);
   if (!o.list.empty() && !setList(chain, o.list))
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
