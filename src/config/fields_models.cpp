#include "field.hpp"

namespace llmproxy::config {
namespace {

Field models_field()
{
    auto row =
        field("models", Type::items, "[]",
              "Public model names for the inference routes, forms and realtime connections: each "
              "stands for models of one or several backends, and hides a model of the same name.");
    row.open = [](Cursor& cursor) { cursor.model = &cursor.root->upstream.models.emplace_back(); };
    row.count = [](Cursor& cursor) { return cursor.root->upstream.models.size(); };
    row.select = [](Cursor& cursor, std::size_t index) {
        cursor.model = &cursor.root->upstream.models.at(index);
    };
    return row;
}

Field targets_field()
{
    auto row = field("models[].targets", Type::items, "[]", "What the name stands for.");
    row.open = [](Cursor& cursor) { cursor.target = &cursor.model->targets.emplace_back(); };
    row.count = [](Cursor& cursor) { return cursor.model->targets.size(); };
    row.select = [](Cursor& cursor, std::size_t index) {
        cursor.target = &cursor.model->targets.at(index);
    };
    row.example_commented = true;
    return row;
}

}  // namespace

void add_model_fields(std::vector<Field>& table)
{
    table.push_back(models_field());
    table.push_back(field("models[].name", Type::string, "", "The name that clients use.")
                        .must()
                        .bind([](Cursor & c) -> auto& { return c.model->name; })
                        .commented("fast"));
    table.push_back(targets_field());
    table.push_back(field("models[].targets[].backend", Type::string, "", "The backend's name.")
                        .must()
                        .bind([](Cursor & c) -> auto& { return c.target->backend; })
                        .commented("openai"));
    table.push_back(field("models[].targets[].model", Type::string, "",
                          "The model that the backend is asked for; empty: the public name.")
                        .bind([](Cursor & c) -> auto& { return c.target->model; })
                        .commented("gpt-4o-mini"));
    table.push_back(field("models[].targets[].weight", Type::integer, "1",
                          "Share of the requests among targets whose backends have the same "
                          "priority.")
                        .between(1, 1'000'000)
                        .bind([](Cursor & c) -> auto& { return c.target->weight; })
                        .commented("1"));
}

}  // namespace llmproxy::config
