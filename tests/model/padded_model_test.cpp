// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/padded_model.hpp"

#include "foreign_models.hpp"
#include "random_model.hpp"
#include "test.hpp"
#include "tithe/logprob/logprobs.hpp"
#include "tithe/model/generate.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

Row row_of(TokenIds prompt, std::vector<TokenIds> completions) {
  return {.prompt = std::move(prompt), .completions = std::move(completions)};
}

}  // namespace

CATCH_TEST_CASE("a padded model gives the numbers of packed rows", "[model]") {
  const Decoder model = random_decoder();
  const PaddedModel padded{hidden_behind_padding(model)};
  std::vector<Rows> cases{
      {row_of({3}, {{5}})},                                   // one token each
      {row_of({3}, {{5, 6}, {}}), row_of({1, 2}, {{}, {}})},  // empty completions
      {row_of({1, 2, 3}, {{4}, {5}, {6}, {7}, {8}})},         // k = 5
  };
  for (std::uint64_t seed = 0; seed < 4; ++seed)
    cases.push_back(random_rows(9, seed));  // k of 1, 2, 5 and others
  cases.push_back(rows_that_begin_alike(9, 5));
  for (const Rows& rows : cases) {
    const PackedRows packed = pack(rows);
    const at::Tensor weights = random_tensor({packed.predicted_tokens()}, 3);
    const at::Tensor expected = token_logprobs(model, packed);
    (expected * weights).sum().backward();
    const auto expected_gradients = take_gradients(model.parameters());
    const at::Tensor found = token_logprobs(padded, packed);
    (found * weights).sum().backward();
    // Float64, through two layers: what the project promises.
    CATCH_CHECK(distance(found, expected) < 1e-10);
    CATCH_CHECK(distance(take_gradients(padded.parameters()), expected_gradients) < 1e-10);
  }
}

CATCH_TEST_CASE("rows without any predicted token give a gradient of zero", "[model]") {
  const Decoder model = random_decoder();
  const PaddedModel padded{hidden_behind_padding(model)};
  for (const Rows& rows : {Rows{row_of({3, 4}, {{}})}, Rows{row_of({3, 4}, {})}}) {
    const at::Tensor none = token_logprobs(padded, pack(rows));
    CATCH_CHECK(none.numel() == 0);
    none.sum().backward();
    for (const at::Tensor& gradient : take_gradients(padded.parameters())) {
      CATCH_CHECK(gradient.abs().max().item<double>() == 0);
    }
  }
}

CATCH_TEST_CASE("a padded model's frozen copy shares nothing and is not trained", "[model]") {
  const Decoder model = random_decoder();
  const PaddedModel padded{hidden_behind_padding(model)};
  const PaddedModel frozen = padded.frozen_copy();
  CATCH_CHECK(frozen.parameters().empty());
  CATCH_CHECK(frozen.weights().size() == padded.parameters().size());
  const PackedRows packed = pack(random_rows(3, 1));
  const at::Tensor before = token_logprobs(padded, packed).detach();
  for (const NamedTensor& weight : padded.weights()) weight.tensor.mul_(1.5);
  CATCH_CHECK(distance(token_logprobs(frozen, packed), before) < 1e-10);
  CATCH_CHECK(distance(token_logprobs(padded, packed), before) > 0.1);
}

CATCH_TEST_CASE("a frozen copy that shares a tensor is refused, and the model is as it was", "[model]") {
  const Decoder model = random_decoder();
  PaddedModelParts parts = hidden_behind_padding(model);
  const std::string norm = parts.weights[3].name;
  const auto with_shared = [&](const auto& share) {
    parts.copy = [model, share] {
      PaddedModelParts copy = hidden_behind_padding(model.clone());
      copy.weights[3].tensor = share(model.parameters()[3].tensor);
      return copy;
    };
    return PaddedModel{parts};
  };
  const auto itself = [](const at::Tensor& tensor) { return tensor; };
  const auto view = [](const at::Tensor& tensor) { return tensor.detach().narrow(0, 1, 2); };
  for (const PaddedModel& shared : {with_shared(itself), with_shared(view)}) {
    const auto error = thrown<OptionError>([&] { auto copy = shared.frozen_copy(); });
    CATCH_CHECK(
        contains(error.what(), "shares no memory with the model, but found \"" + norm + "\" in the memory"));
    CATCH_CHECK(shared.parameters().size() == model.parameters().size());  // all of them are trained still
  }
  CATCH_CHECK(with_shared([](const at::Tensor& tensor) { return tensor.detach().clone(); })
                  .frozen_copy()
                  .parameters()
                  .empty());
}

CATCH_TEST_CASE("a padded model generates what the model behind it does", "[model]") {
  const Decoder model = random_decoder();
  const std::vector<TokenIds> prompts{{1}, {2, 3, 4, 5}, {6, 7}};
  const GenerationOptions options{.max_new_tokens = Tokens{12}, .seed = Seed{3}};
  const auto expected = generate(model, prompts, options);
  const auto found = generate(PaddedModel{hidden_behind_padding(model)}, prompts, options);
  for (std::size_t i = 0; i < prompts.size(); ++i) CATCH_CHECK(found[i].ids == expected[i].ids);
}

CATCH_TEST_CASE("a padded model says what it lacks", "[model]") {
  const Decoder model = random_decoder();
  PaddedModelParts parts = hidden_behind_padding(model);
  CATCH_CHECK(contains(thrown<OptionError>([] { PaddedModel{PaddedModelParts{}}; }).what(),
                       "a function from ids to logits"));
  parts.copy = nullptr;
  CATCH_CHECK(contains(thrown<OptionError>([&] { auto copy = PaddedModel{parts}.frozen_copy(); }).what(),
                       "copies the module"));
  parts.logits = [](const at::Tensor& ids) { return at::full({ids.size(0), 23}, 0.0, at::kDouble); };
  const auto error =
      thrown<ShapeError>([&] { token_logprobs(PaddedModel{parts}, pack(Rows{row_of({1}, {{2}})})); });
  CATCH_CHECK(contains(error.what(), "logits of shape [1, 1, vocabulary], but found [1, 23]"));
}
