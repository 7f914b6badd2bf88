"""What it takes is counted right, and each thing once."""

import pytest

from vit_jax import errors
from vit_jax.paper import costs, methods, targets
from vit_jax.planning import compute_cost


@pytest.mark.parametrize('name', ['ViT-Ti/16', 'R26+ViT-S/32', 'BiT-R50x1'])
def test_two_layers_tell_what_all_of_them_cost(name):
  config = costs.load(
    'configs/pretrain/vit_i1k.py'
  ).copy_and_resolve_references()
  config.model.name = name
  config.run.num_epochs = 3
  images = 4096 * round(3 * 1_268_356 / 4096)
  counted = compute_cost.exaflops(name, images, 1, num_classes=1000)
  assert costs.training_exaflops(config) == pytest.approx(counted, rel=1e-9)


def test_an_hour_is_that_of_the_chip_at_its_utilisation():
  assert costs.hours(989e12 * 0.4 * 3600 / 1e18) == pytest.approx(1)


def test_a_fine_tuning_takes_its_grid_and_its_seeds():
  method = methods.Transferred(
    'configs/finetune/transfer.py:dataset=cifar10,variant=B/16',
    'imagenet21k/ViT-B_16',
  )
  (run,) = costs.runs(method)
  assert run.count == 4 + 3
  # 10,000 steps of 512 images of 384 pixels, at 55.5 GMACs each.
  assert run.exaflops == pytest.approx(
    7 * 1e4 * 512 * 6 * 55.5e9 / 1e18, rel=0.01
  )
  assert run.datasets == ('cifar10',)
  assert run.files == ('gs://vit_models/imagenet21k/ViT-B_16.npz',)
  assert 'init=imagenet21k/ViT-B_16 --seeds=3' in run.command


def test_shorter_trainings_cost_less():
  method = methods.Transferred(
    'configs/finetune/augreg.py:dataset=cifar100,variant=S/16', 'augreg/S_16'
  )
  (run,) = costs.runs(method)
  assert run.count == 3 * 2 + 3
  config = costs.load(method.recipe)
  # Three rates at 10,000 and at 2,500 steps; finals at 10,000.
  assert run.exaflops == pytest.approx(
    costs.training_exaflops(config) * (3 + 3 / 4 + 3)
  )


def test_a_single_rate_is_not_chosen():
  method = methods.Transferred(
    'configs/finetune/transfer.py:dataset=vtab/dtd,variant=B/32',
    'imagenet21k/ViT-B_32',
  )
  assert [run.count for run in costs.runs(method)] == [3]


def test_weights_from_scratch_take_a_pre_training_and_labels_a_file():
  method = targets.TARGETS['table5'].methods['ImageNet ImageNet ReaL', 'B/32']
  pretraining, sweep, evaluation = costs.runs(method)
  assert pretraining.command.startswith(
    'vit_jax train --config=configs/pretrain'
  )
  assert pretraining.exaflops == pytest.approx(
    compute_cost.exaflops('ViT-B/32', 1_268_356, 300, 1000), rel=1e-4
  )
  assert (sweep.files, sweep.count) == ((), 7)
  assert evaluation.files[0].endswith('real.json')
  assert evaluation.exaflops < sweep.exaflops / 100


def test_the_best_file_of_augreg_is_known_before_its_index_is():
  (run,) = costs.runs(
    methods.Evaluated(
      'augreg/best/R26_S_32-i1k-imagenet2012-384', 'imagenet2012'
    )
  )
  forward = run.exaflops * 1e18 / 50_000
  assert forward == pytest.approx(2 * 10.5e9, rel=0.05)  # R26+S/32 at 384 px.


def test_what_is_on_disk_is_told(tmp_path):
  assert costs.where('cifar10', str(tmp_path)).startswith('missing; `vit_jax')
  assert costs.where('vtab/dtd', str(tmp_path)).startswith('missing')
  assert 'prints how to get it' in costs.where('imagenet21k')
  assert costs.where('128 images of yours') == 'yours'


def test_sizes_of_files_are_those_of_the_catalogue():
  entry = 'gs://vit_models/imagenet21k/ViT-B_16.npz'
  assert costs.size_of_file(entry) / 2**20 == pytest.approx(393.6, abs=0.1)
  assert costs.size_of_file('gs://elsewhere/file.npz') is None


@pytest.mark.parametrize(
  'released, url',
  [
    (394 * 2**20, 'gs://vit_models/imagenet21k/ViT-B_16.npz'),
    (None, 'https://storage.googleapis.com/elsewhere/real.json'),
  ],
)
def test_the_size_told_is_that_of_the_file_that_is_there(
  released, url, tmp_path, monkeypatch
):
  path = tmp_path / 'file'
  monkeypatch.setattr(costs.download, 'path_of', lambda _: path)
  about = ', 394 MiB' if released else ''
  assert costs.stock(url) == f'{about}: will be downloaded'
  path.write_bytes(bytes(1_600_000))
  told = costs.stock(url)
  assert told.startswith(', 1.5 MiB: cached')
  wrong = 'and not the released file, which has 394 MiB; remove '
  assert (wrong in told) == bool(released)
  with path.open('r+b') as file:
    file.truncate(393 * 2**20)  # The table knows it but for its headers.
  assert costs.stock(url) == ', 393 MiB: cached'


def test_a_file_of_ones_own_is_told_with_its_size(tmp_path):
  path = tmp_path / 'mine.npz'
  assert costs.stock(str(path)) == ': not a file here'
  path.write_bytes(bytes(25 * 2**20))
  assert costs.stock(str(path)) == ', 25 MiB: here'


def test_epochs_of_a_data_set_of_unknown_size_are_not_guessed():
  config = costs.load(
    'configs/pretrain/vit_i1k.py'
  ).copy_and_resolve_references()
  config.data.dataset = 'mine'
  with pytest.raises(errors.UserError, match=r'give --config\.run\.num_steps'):
    costs.training_exaflops(config)
