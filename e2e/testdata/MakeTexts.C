// Writes two files with a tree Events that has texts of two kinds, some of which come up late, in the second file alone.
void MakeTexts()
{
   for (int f = 0; f < 2; ++f) {
      TFile file(TString::Format("texts_%d.root", f), "RECREATE");
      TTree tree("Events", "");
      double x = 0;
      int n = 0;
      std::string name;
      char word[16] = "";
      tree.Branch("x", &x, "x/D");
      tree.Branch("n", &n, "n/I");
      tree.Branch("name", &name);
      tree.Branch("word", word, "word/C");
      tree.SetAutoFlush(150);
      const char *names[] = {"mu", "e", "tau", "gamma", "nu"};
      for (int i = 1000 * f; i < 1000 * (f + 1); ++i) {
         x = double(i * 37 % 101) / 10;
         n = i % 7;
         name = names[(i * i + i / 3) % 5];
         snprintf(word, sizeof word, i < 1800 ? "trigger%d" : "late%d", i / 2 % 3);
         tree.Fill();
      }
      file.Write();
   }
}
