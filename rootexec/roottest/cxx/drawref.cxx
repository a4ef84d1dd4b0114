// drawref: what ROOT's own TTree::Draw makes of expressions, written to a file.
//
//   drawref TREE OUT OPTION N (EXPRESSION SELECTION)*N FILE...
//
// Exit status: 0 done, 1 one of them could not be drawn.

#include <TChain.h>
#include <TEntryList.h>
#include <TEnv.h>
#include <TFile.h>
#include <TH1.h>
#include <TROOT.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

int main(int argc, char **argv)
{
   gROOT->SetBatch(true);
   const std::string tree = argv[1], out = argv[2], option = argv[3];
   const int n = std::atoi(argv[4]);
   TChain chain(tree.c_str());
   for (int i = 5 + 2 * n; i < argc; ++i)
      chain.Add(argv[i]);
   chain.SetAlias("number", "Entry$"); // as the tests name them
   chain.SetAlias("rest", "Entries$-Entry$");
   gROOT->cd();
   std::map<std::string, TObject *> drawn;
   for (int i = 0; i < n; ++i) {
      std::string expression = argv[5 + 2 * i], name = "htemp";
      std::string how = option + " goff";
      if (const size_t at = expression.rfind(">>"); at != std::string::npos) {
         name = expression.substr(at + 2);
         name = name.substr(name.find_first_not_of(" +"));
         name = name.substr(0, name.find('('));
         if (at == 0)
            how += " entrylist";
      }
      // A call leaves its numbers of bins as the defaults of the next one.
      for (const auto &[key, bins] : std::map<std::string, int>{{"1D.x", 100}, {"2D.x", 40}, {"2D.y", 40},
                                                                {"2D.Prof", 100}, {"3D.x", 20}, {"3D.y", 20},
                                                                {"3D.z", 20}, {"3D.Profx", 100}, {"3D.Profy", 100}})
         gEnv->SetValue(("Hist.Binning." + key).c_str(), bins);
      gROOT->cd(); // where what is drawn is made, and found again
      if (chain.Draw(expression.c_str(), argv[6 + 2 * i], how.c_str()) < 0)
         return 1;
      gROOT->cd();
      TObject *o = gDirectory->FindObject(name.c_str());
      if (!o) {
         std::fprintf(stderr, "no %s\n", name.c_str());
         return 1;
      }
      if (auto *h = dynamic_cast<TH1 *>(o)) {
         h->BufferEmpty(1);
      }
      drawn[name] = o;
   }
   TFile file(out.c_str(), "RECREATE");
   for (const auto &[name, o] : drawn)
      file.WriteTObject(o, name.c_str());
   return 0;
}
