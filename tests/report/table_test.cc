#include "report/table.h"

#include <gtest/gtest.h>

namespace tamis {
namespace {

using Align = Column::Align;

TEST(Table, AlignsByDisplayWidth) {
  Table table({{"policy", Align::kLeft}, {"ms"}, {"note", Align::kLeft}});
  table.AddRow({"dense", "12.3", "日本"});
  table.AddRow({"é", "1234", ""});
  EXPECT_EQ(table.Render({}),
            "policy    ms  note\n"
            "──────  ────  ────\n"
            "dense   12.3  日本\n"
            "é       1234\n");
}

TEST(Table, GroupsShareAHeading) {
  Table table({{"policy", Align::kLeft},
               {"top-1", Align::kRight, "prompt"},
               {"KL", Align::kRight, "prompt"},
               {"KL", Align::kRight, "a long heading"}});
  table.AddRow({"dense", "100 %", "0", "0"});
  table.AddGap();
  table.AddRow({"x", "9 %", "0.12", "1"});
  EXPECT_EQ(table.Render({}),
            "        ─ prompt ──  a long heading\n"
            "policy  top-1    KL              KL\n"
            "──────  ─────  ────  ──────────────\n"
            "dense   100 %     0               0\n"
            "\n"
            "x         9 %  0.12               1\n");
}

TEST(Table, ALastColumnOfTextIsWrapped) {
  Table table({{"name"}, {"help", Align::kLeft}});
  table.AddRow({"a", "one two three four five six seven"});
  table.AddRow({"b", "short"});
  Terminal terminal;
  terminal.columns = 30;
  EXPECT_EQ(table.Render(terminal),
            "name  help\n"
            "────  ────────────────────────\n"
            "   a  one two three four five\n"
            "      six seven\n"
            "   b  short\n");
}

TEST(Table, LabelsAreWrappedWhereNumbersEndTheRow) {
  Table table({{"policy", Align::kLeft}, {"time"}});
  table.AddRow({"streaming recent_tokens=128", "5.01 s"});
  table.AddRow({"dense", "5 s"});
  Terminal terminal;
  terminal.columns = 26;
  EXPECT_EQ(table.Render(terminal),
            "policy                time\n"
            "──────────────────  ──────\n"
            "streaming           5.01 s\n"
            "recent_tokens=128\n"
            "dense                  5 s\n");
}

TEST(Table, ColourOnlyWhereTheTerminalHasIt) {
  Table table({{"a"}});
  table.AddRow({"1"});
  Terminal colour;
  colour.colour = true;
  EXPECT_EQ(table.Render(colour), "\x1b[1ma\x1b[0m\n\x1b[2m─\x1b[0m\n1\n");
  EXPECT_EQ(table.Render({}).find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace tamis
