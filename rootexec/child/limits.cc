#include "limits.h"

#include <TAxis.h>
#include <TH1.h>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace dtpnode {

using nlohmann::json;

namespace {

constexpr long long kEnoughEntries = 1000; // as many as ROOT's buffer has, after which limits change more rarely

std::vector<Axis> axesOf(TH1 &h) {
  std::vector<Axis> out(static_cast<size_t>(h.GetDimension()));
  for (size_t d = 0; d < out.size(); ++d) {
    const TAxis &axis = axisOf(h, static_cast<int>(d));
    out[d].bins = axis.GetNbins();
    out[d].low = axis.GetXmin();
    out[d].high = axis.GetXmax();
    if (!axis.GetLabels()) continue;
    for (int i = 1; i <= axis.GetNbins() && axis.GetBinLabel(i)[0]; ++i)
      out[d].labels.push_back(axis.GetBinLabel(i));
  }
  return out;
}

json toJSON(const std::map<std::string, std::vector<Axis>> &all) {
  json out = json::object();
  for (const auto &[key, axes] : all)
    for (const Axis &a : axes)
      out[key].push_back({{"bins", a.bins}, {"low", a.low}, {"high", a.high}, {"labels", a.labels}});
  return out;
}

std::map<std::string, std::vector<Axis>> fromJSON(const json &all) {
  std::map<std::string, std::vector<Axis>> out;
  for (const auto &[key, axes] : all.items())
    for (const json &a : axes) {
      Axis axis;
      axis.bins = a.at("bins");
      axis.low = a.at("low");
      axis.high = a.at("high");
      axis.labels = a.at("labels").get<std::vector<std::string>>();
      if (axis.bins < 1 || axis.bins > 1 << 24 || axis.labels.size() > static_cast<size_t>(axis.bins) ||
          !(axis.low < axis.high))
        throw std::runtime_error("an axis that is announced is none");
      out[key].push_back(axis);
    }
  return out;
}

bool canExtend(TH1 &h) {
  for (int d = 0; d < h.GetDimension(); ++d)
    if (axisOf(h, d).CanExtend() || axisOf(h, d).IsAlphanumeric()) return true;
  return false;
}

bool isEmpty(TH1 &h) { return h.GetEntries() == 0 && h.GetBufferLength() == 0; }

} // namespace

Announced::Announced(const std::string &text) {
  if (text.empty()) return;
  const json all = json::parse(text);
  found = fromJSON(all.at("found"));
  begun = fromJSON(all.at("begun"));
}

std::string Announced::text() const {
  if (empty()) return "";
  return json{{"found", toJSON(found)}, {"begun", toJSON(begun)}}.dump(-1, ' ', true, json::error_handler_t::replace);
}

std::string Announced::keyOf(TH1 &h) {
  std::string out = std::string(h.ClassName()) + '\n' + h.GetName();
  for (int d = 0; d < h.GetDimension(); ++d)
    out += '\n' + std::to_string(axisOf(h, d).GetNbins());
  return out;
}

LimitsFinder &LimitsFinder::install() {
  static auto *finder = new LimitsFinder;
  THLimitsFinder *now = THLimitsFinder::GetLimitsFinder();
  if (now != finder) finder->before_ = now;
  THLimitsFinder::SetLimitsFinder(finder);
  return *finder;
}

void LimitsFinder::remove() {
  auto *finder = dynamic_cast<LimitsFinder *>(THLimitsFinder::GetLimitsFinder());
  if (finder) THLimitsFinder::SetLimitsFinder(finder->before_);
}

void LimitsFinder::announce(Announced announced, bool strict) {
  announced_ = std::move(announced);
  strict_ = strict;
}

const std::vector<Axis> *LimitsFinder::announcedFor(TH1 &h) const {
  const auto it = announced_.found.find(Announced::keyOf(h));
  const bool fits = it != announced_.found.end() && it->second.size() == static_cast<size_t>(h.GetDimension());
  return fits ? &it->second : nullptr;
}

void LimitsFinder::noteOdd(const std::string &name) {
  constexpr size_t most = 20, bytes = 200;
  if (odd_.size() < most) odd_.insert(name.substr(0, bytes));
}

void LimitsFinder::prepare(const TCollection &output) const {
  constexpr long long room = 32 << 20; // bytes, of the buffers of all
  constexpr int most = 10000;          // entries
  std::vector<TH1 *> unknown;
  for (TH1 *h : histogramsIn(output)) {
    if (!isEmpty(*h)) continue;
    const std::string key = Announced::keyOf(*h);
    const auto it = announced_.begun.find(key);
    if (it != announced_.begun.end() && hasLimits(*h) && canExtend(*h) &&
        it->second.size() == static_cast<size_t>(h->GetDimension()))
      setAxes(*h, it->second);
    if (!hasLimits(*h) && h->GetBufferSize() > 0 && announced_.found.count(key) == 0) unknown.push_back(h);
  }
  for (TH1 *h : unknown) {
    const long long width = 8 * (h->GetDimension() + 2), own = room / width / static_cast<long long>(unknown.size());
    const int n = static_cast<int>(std::min<long long>(own, most));
    if (n > h->GetBufferSize()) h->SetBuffer(n);
  }
}

template <class F>
Int_t LimitsFinder::find(TH1 &h, F root) {
  const std::string key = Announced::keyOf(h);
  const auto it = announced_.found.find(key);
  h.SetBit(kAutoLimits);
  const bool known = it != announced_.found.end() && it->second.size() == static_cast<size_t>(h.GetDimension());
  if (known && !hasVariableBins(h)) {
    setAxes(h, it->second);
    return 0;
  }
  const Int_t out = root();
  h.SetBit(kOwnLimits);
  if (hasVariableBins(h)) return out;
  found_.try_emplace(key, axesOf(h));
  return out;
}

Int_t LimitsFinder::FindGoodLimits(TH1 *h, Double_t xmin, Double_t xmax) {
  return find(*h, [&] { return THLimitsFinder::FindGoodLimits(h, xmin, xmax); });
}

Int_t LimitsFinder::DTPNODE_GOOD_LIMITS_XY(TH1 *h, Double_t xmin, Double_t xmax, Double_t ymin,
                                           Double_t ymax DTPNODE_BINS_XY) {
  return find(*h, [&] {
    return THLimitsFinder::DTPNODE_GOOD_LIMITS_XY(h, xmin, xmax, ymin, ymax DTPNODE_PASS_BINS_XY);
  });
}

Int_t LimitsFinder::DTPNODE_GOOD_LIMITS_XYZ(TH1 *h, Double_t xmin, Double_t xmax, Double_t ymin, Double_t ymax,
                                            Double_t zmin, Double_t zmax DTPNODE_BINS_XYZ) {
  return find(*h, [&] {
    return THLimitsFinder::DTPNODE_GOOD_LIMITS_XYZ(h, xmin, xmax, ymin, ymax, zmin, zmax DTPNODE_PASS_BINS_XYZ);
  });
}

void LimitsTrial::watch(const TCollection &output) {
  for (TH1 *h : histogramsIn(output))
    if (isEmpty(*h) && (!hasLimits(*h) || canExtend(*h))) watched_[h] = Announced::keyOf(*h);
}

bool LimitsTrial::done(const TCollection &output, long long entries) const {
  if (entries < kEnoughEntries) return false;
  for (TH1 *h : histogramsIn(output))
    if (watched_.count(h) > 0 && !hasLimits(*h)) return false;
  return true;
}

Announced LimitsTrial::result(const TCollection &output, const LimitsFinder &finder) const {
  Announced out;
  out.found = finder.found();
  for (TH1 *h : histogramsIn(output)) {
    const auto it = watched_.find(h);
    if (it == watched_.end() || !hasLimits(*h) || !canExtend(*h) || out.found.count(it->second) > 0) continue;
    if (!hasVariableBins(*h) && !isEmpty(*h)) out.begun[it->second] = axesOf(*h);
  }
  return out;
}

} // namespace dtpnode
