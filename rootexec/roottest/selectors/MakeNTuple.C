// Writes an RNTuple "T" beside which there is no tree.
#include <ROOT/RNTupleModel.hxx>
#include <ROOT/RNTupleWriter.hxx>
#include <RVersion.h>

#include <utility>

#if ROOT_VERSION_CODE < ROOT_VERSION(6, 36, 0)
using namespace ROOT::Experimental;
#else
using namespace ROOT;
#endif

void MakeNTuple(const char *path) {
  auto model = RNTupleModel::Create();
  auto x = model->MakeField<float>("x");
  auto writer = RNTupleWriter::Recreate(std::move(model), "T", path);
  for (int i = 0; i < 10; ++i) {
    *x = i;
    writer->Fill();
  }
}
