"""Weights come from the Hugging Face Hub, and go there: from an imitation."""

import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import yaml
from huggingface_hub import constants

from tests.weights import hub_server
from tests.weights.files import test_sharded
from vit_jax import errors, models, pytrees
from vit_jax.cli import main
from vit_jax.config import grids, recipes, schema
from vit_jax.data.datasets import class_names
from vit_jax.paper import costs
from vit_jax.weights import card as cards
from vit_jax.weights import convert, loading, mapping
from vit_jax.weights.files import hub as hubs
from vit_jax.weights.files import npz, safetensors, sharded
from vit_jax.weights.publishing import model_card
from vit_jax.weights.tables import vit

REPO = 'somebody/tiny'
NAMES = ('cat', 'dog', 'owl')
PICKLE = b'\x80\x04.'  # Nobody should ever ask for it.


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """An exported model of ours, as of a run that was evaluated."""
  folder = tmp_path_factory.mktemp('weights')
  config = schema.default()
  config.model.update(
    name='ViT-Ti/16', width=8, depth=2, num_heads=2, mlp_dim=12
  )
  _save(folder / 'a.npz', config.model)
  convert.run(str(folder / 'a.npz'), str(folder / 'run'), 'orbax')
  card = loading.find(str(folder / 'run')).card
  source = {
    'dataset': '/home/somebody/photos of mine',
    'train_split': 'train',
    'init': 'hf://google/vit-base@abc',
    'step': 20,
    'evaluated': {'step': 20, 'accuracy': 0.875, 'num_examples': 80},
  }
  cards.write(
    folder / 'run', dataclasses.replace(card, class_names=NAMES, source=source)
  )
  return folder / 'run'


@pytest.fixture(scope='module')
def timm(run):
  """A folder of timm with its model card."""
  convert.run(str(run), str(run.parent / 'timm'), 'timm')
  return run.parent / 'timm'


@pytest.fixture(scope='module')
def transformers(run):
  """A folder of transformers."""
  convert.run(str(run), str(run.parent / 'huggingface'), 'huggingface')
  return run.parent / 'huggingface'


@pytest.fixture
def hub(monkeypatch, tmp_path):
  """An empty Hub, that this process uses with a cache of the test's own."""
  with hub_server.Hub() as hub:
    hub_server.use(hub, monkeypatch, tmp_path / 'cache')
    yield hub


def _save(path, model):
  rng = np.random.default_rng(0)
  shapes = models.params_of(models.build(model, len(NAMES)), (32, 32))
  flat = {
    path: 0.3 * rng.standard_normal(leaf.shape, np.float32)
    for path, leaf in pytrees.flatten(shapes).items()
  }
  npz.save(path, mapping.to_theirs(flat, vit.rows()))


def logits(checkpoint, folder):
  pixels = np.random.default_rng(1).uniform(-1, 1, (2, 32, 32, 3))
  np.save(folder / 'batch.npy', pixels.astype(np.float32))
  arguments = (
    f'--checkpoint={checkpoint}',
    f'--input={folder}/batch.npy',
    f'--logits={folder}/logits.npy',
  )
  assert main.main(['predict', *arguments]) == 0
  return np.load(folder / 'logits.npy')


def assert_same_parameters(checkpoint, wanted):
  """Checks that weights are those of another checkpoint, to the bit."""
  given, wanted = (
    pytrees.flatten(
      found.load(models.params_of(loading.build(found), (32, 32)))[0]
    )
    for found in (loading.find(str(each)) for each in (checkpoint, wanted))
  )
  assert given.keys() == wanted.keys()
  for name, array in wanted.items():
    np.testing.assert_array_equal(given[name], array, err_msg=name)


def asked(hub):
  """Returns [method and path] of what was asked, without the library's own."""
  return [
    f'{method} {path}'
    for method, path, _ in hub.log
    if path != '/api/agent-harnesses'
  ]


def refused(address, pattern):
  with pytest.raises(errors.UserError, match=pattern) as caught:
    loading.find(address)
  assert '\n' not in str(caught.value)
  return str(caught.value)


# Fetching ---------------------------------------------------------------------


@pytest.mark.parametrize('format_name', ['timm', 'transformers'])
def test_predictions_are_those_of_the_local_folder(
  format_name, hub, request, tmp_path
):
  folder = request.getfixturevalue(format_name)
  commit = hub.add_folder(REPO, folder)
  files = hub.files(REPO)
  files |= {
    'pytorch_model.bin': PICKLE,
    'model.npz': b'',
    'training.pt': PICKLE,
  }
  hub.add(REPO, files)
  commit = hub.repositories[REPO].branches['main']
  np.testing.assert_array_equal(
    logits(f'hf://{REPO}', tmp_path), logits(folder, tmp_path)
  )
  wanted = {'config.json', 'model.safetensors', 'preprocessor_config.json'}
  assert hub.fetched() == wanted & files.keys()
  assert not any('pytorch_model' in line for line in asked(hub))
  card, local = (loading.find(x).card for x in (f'hf://{REPO}', str(folder)))
  assert card.source == local.source | {'repository': REPO, 'commit': commit}
  assert dataclasses.replace(card, source={}) == dataclasses.replace(
    local, source={}
  )


def test_what_is_in_the_cache_is_not_fetched_again(hub, timm):
  hub.add_folder(REPO, timm)
  loading.find(f'hf://{REPO}')
  hub.log.clear()
  loading.find(f'hf://{REPO}')
  assert not hub.fetched() and len(asked(hub)) == 2


def test_a_token_opens_a_private_repository_and_goes_nowhere_else(
  hub, timm, monkeypatch
):
  hub.add_folder(REPO, timm, private=True)
  loading.find(f'hf://{REPO}')
  assert {
    headers.get('authorization')
    for _, path, headers in hub.log
    if path.startswith('/cdn/')
  } == {None}
  monkeypatch.delenv('HF_TOKEN')
  message = refused(f'hf://{REPO}', 'or it is private; .*HF_TOKEN')
  assert 'hf auth login' in message and 'no token is set' in message


def test_a_download_that_is_cut_short_is_resumed(hub, timm, monkeypatch):
  hub.add_folder(REPO, timm)
  monkeypatch.setattr(constants, 'DOWNLOAD_CHUNK_SIZE', 500)
  hub.cut['model.safetensors'] = 1000
  found = loading.find(f'hf://{REPO}')
  with open(found.path, 'rb') as file:
    assert file.read() == (timm / 'model.safetensors').read_bytes()
  ranges = [
    headers.get('range') for _, path, headers in hub.log if '/cdn/' in path
  ]
  assert ranges == [None, 'bytes=1000-']


def test_offline_the_cache_has_to_do(hub, timm, monkeypatch):
  commit = hub.add_folder(REPO, timm)
  loading.find(f'hf://{REPO}')
  hub.log.clear()
  monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
  for revision in '', '@main', f'@{commit}':
    assert (
      loading.find(f'hf://{REPO}{revision}').card.source['commit'] == commit
    )
  refused('hf://somebody/else', 'not in the cache, and HF_HUB_OFFLINE is set')
  refused(f'hf://{REPO}@v2', 'not in the cache, and HF_HUB_OFFLINE is set')
  assert not hub.log


def test_offline_nothing_is_assumed_of_a_file_that_was_never_asked_for(
  hub, transformers, monkeypatch
):
  """Others cache the weights alone; how images are prepared is then unknown."""
  import huggingface_hub

  hub.add_folder(REPO, transformers)
  for name in 'config.json', 'model.safetensors':
    huggingface_hub.hf_hub_download(REPO, name)
  monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
  refused(f'hf://{REPO}', r'in the cache without preprocessor_config\.json')


def test_without_a_connection_the_cache_is_used_and_said(
  hub, timm, monkeypatch, capsys
):
  commit = hub.add_folder(REPO, timm)
  loading.find(f'hf://{REPO}')
  hub.failing['*'] = 503
  capsys.readouterr()
  loading.find(f'hf://{REPO}')
  assert f'answers 503: It fails; commit {commit} of the cache is used' in (
    capsys.readouterr().err
  )
  monkeypatch.setattr(constants, 'ENDPOINT', 'http://127.0.0.1:9')
  loading.find(f'hf://{REPO}')
  assert 'there is no connection to http://127.0.0.1:9; commit' in (
    capsys.readouterr().err
  )
  refused('hf://somebody/else', r'there is no connection to http://127\S+\.$')


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub, timm, run):
  first = hub.add_folder(REPO, timm)
  repository = hub.repositories[REPO]
  repository.tags['v1'] = first
  files = dict(hub.files(REPO))
  config = json.loads(files['config.json'])
  config['label_names'] = ['a', 'b', 'c']
  second = hub.add(REPO, files | {'config.json': json.dumps(config).encode()})
  repository.branches['try/this'] = second
  for revision, commit in (
    *(('', second), ('@main', second), ('@v1', first)),
    *((f'@{first}', first), ('@try%2Fthis', second)),
  ):
    card = loading.find(f'hf://{REPO}{revision}').card
    assert card.source['commit'] == commit
    assert card.class_names == (NAMES if commit == first else ('a', 'b', 'c'))
  refused(f'hf://{REPO}@v2', "has no revision 'v2'. .*v1")


def test_a_folder_of_a_repository(hub, timm):
  name = 'models/b16'
  files = {f'{name}/{path.name}': path.read_bytes() for path in timm.iterdir()}
  hub.add(REPO, {'README.md': b''} | files)
  assert loading.find(f'hf://{REPO}/{name}').card.class_names == NAMES
  assert loading.find(f'hf://{REPO}@main/{name}/').card.class_names == NAMES
  refused(
    f'hf://{REPO}', r'holds no config\.json.* it holds README\.md, models/'
  )
  refused(f'hf://{REPO}/nowhere', r'holds no config\.json.* it holds nothing')


def test_several_files_are_read_as_one(hub, timm, tmp_path):
  with safetensors.SafetensorsFile(timm / 'model.safetensors') as file:
    flat = dict(file)
  shards = [f'model-0000{i}-of-00003.safetensors' for i in (1, 2, 3)]
  where = {name: shards[i % 3] for i, name in enumerate(flat)}
  folder = tmp_path / 'sharded'
  folder.mkdir()
  test_sharded.write(folder, where, flat)
  (folder / 'config.json').write_bytes((timm / 'config.json').read_bytes())
  commit = hub.add_folder(REPO, folder)
  for checkpoint in f'hf://{REPO}', folder, folder / sharded.INDEX:
    assert_same_parameters(checkpoint, timm)
  assert hub.fetched() == {'config.json', sharded.INDEX, *shards}
  files = dict(hub.files(REPO))
  del files[shards[1]]
  assert hub.add(REPO, files) != commit
  refused(f'hf://{REPO}', f'has no {shards[1]}, of which')


def test_a_pickle_is_never_fetched(hub, timm):
  config = (timm / 'config.json').read_bytes()
  hub.add(REPO, {'config.json': config, 'x/pytorch_model.bin': PICKLE})
  refused(f'hf://{REPO}', r'only x/pytorch_model\.bin, which is a pickle')
  hub.add(REPO, {'config.json': config, 'pytorch_model.bin': PICKLE})
  message = refused(f'hf://{REPO}', 'never a pickle is fetched')
  assert not any('pytorch_model' in path for path in asked(hub))
  words = shlex.split(message.partition('reads them: ')[2])
  assert words[:3] == ['hf', 'download', REPO]
  compile(words[-1], 'advice', 'exec')
  hub.add(REPO, {'config.json': config, '$(touch x).bin': PICKLE})
  assert 'python' not in refused(f'hf://{REPO}', r'no model\.safetensors')


def test_a_name_of_timm_is_a_repository_unless_there_is_such_a_file(
  hub, timm, tmp_path, monkeypatch
):
  name = 'vit_tiny_patch16_32.of_nobody'
  hub.add_folder(f'timm/{name}', timm)
  assert loading.find(name).card.source['repository'] == f'timm/{name}'
  refused(
    'vit_tiny_patch16_32.nobody', 'was taken for a model of timm.*no such'
  )
  monkeypatch.chdir(tmp_path)
  hub.log.clear()
  (tmp_path / name).symlink_to(timm)
  assert 'repository' not in loading.find(name).card.source
  refused('my_weights.npz', 'is no file.*hf://OWNER/NAME')
  assert not hub.log


@pytest.mark.parametrize(
  ('address', 'message'),
  [
    ('hf://name', 'names no repository'),
    ('hf://datasets/somebody/photos', 'names no repository of models'),
    ('hf://a/b@', 'names no repository'),
    ('hf://a/b#sha256=0', 'names no repository'),
    ('hf://a/b c', 'names no repository'),
    ('hf://a/b/../c', 'is no folder'),
    ('hf://a/b/model.safetensors', 'names a file'),
    ('hf://a/b/pytorch_model.bin', 'names a file'),
  ],
)
def test_what_is_no_address_is_refused_before_anything_is_asked(
  address, message, hub
):
  refused(address, message)
  assert not hub.log


def test_sizes_and_room_are_checked_before_a_file_comes(
  hub, timm, monkeypatch, tmp_path
):
  hub.add_folder(REPO, timm)
  usage = hubs.shutil.disk_usage(tmp_path)._replace(free=20_000)
  monkeypatch.setattr(hubs.shutil, 'disk_usage', lambda _: usage)
  refused(
    f'hf://{REPO}', r'where there is no room; free some, or set HF_HUB_CA'
  )
  monkeypatch.undo()
  hub_server.use(hub, monkeypatch, tmp_path / 'cache')
  monkeypatch.setattr(hubs.download, 'MAX_BYTES', 20_000)
  refused(f'hf://{REPO}', r'no more than 20000 are fetched')
  assert 'model.safetensors' not in hub.fetched()
  hub.add(REPO, hub.files(REPO) | {'config.json': b' ' * (9 << 20)})
  refused(f'hf://{REPO}', r'config.json has 9437184 bytes')


def test_a_full_disk_is_said(hub, timm, monkeypatch):
  hub.add_folder(REPO, timm)

  def full(*_, **__):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr('huggingface_hub.file_download.http_get', full)
  refused(f'hf://{REPO}', 'there is no room; free some')


def test_without_the_library_its_extra_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
  refused('hf://a/b', r'pip install "vit_jax\[hub\]"')


def test_addresses_pass_through_configurations(hub, timm, tmp_path):
  address = 'hf://somebody/tiny@v1'
  config = recipes.load(
    f'finetune/transfer.py:init={address},dataset=cifar10', ()
  )
  recipes.save(config, tmp_path)
  assert recipes.load(str(tmp_path / recipes.FILE)).init == address
  name = 'vit_tiny_patch16_224.augreg_in21k'
  config = recipes.load(f'finetune/transfer.py:init={name},dataset=cifar10', ())
  assert config.init == name
  grid = grids.parse([f'init={address},hf://a/b'])
  assert [each['init'] for each in grids.combinations(grid)] == [
    address,
    'hf://a/b',
  ]
  assert costs.stock(address) == (
    ': of the Hugging Face Hub, which has a cache of its own'
  )


ALONE = """
import sys
from vit_jax.cli import main
from vit_jax.weights import convert
assert 'huggingface_hub' not in sys.modules
status = main.main(['convert', *sys.argv[1:]])
assert 'torch' not in sys.modules
sys.exit(status)
"""


def test_another_process_needs_only_the_variables_of_the_library(
  hub, timm, tmp_path
):
  hub.add_folder(REPO, timm, private=True)
  target = tmp_path / 'there'
  done = subprocess.run(
    [sys.executable, '-c', ALONE, f'hf://{REPO}', str(target), '--to=timm'],
    env={**os.environ, **hub.environment(tmp_path / 'home')},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert (target / 'model.safetensors').read_bytes() == (
    timm / 'model.safetensors'
  ).read_bytes()
  assert (tmp_path / 'home/hub/models--somebody--tiny/refs/main').exists()


# Pushing ----------------------------------------------------------------------


def push(source, target, *arguments, to='timm'):
  return main.main(
    ['convert', str(source), str(target), f'--to={to}', *arguments]
  )


def test_a_push_is_one_commit_that_is_read_back(
  hub, run, timm, tmp_path, capsys
):
  target = tmp_path / 'there'
  assert push(run, target, f'--push={REPO}', '--private') == 0
  said = capsys.readouterr().out
  assert f'pushed to {hub.url}/{REPO} (commit ' in said
  assert hub.repositories[REPO].private
  files = {path.name: path.read_bytes() for path in target.iterdir()}
  assert hub.commits == [dict.fromkeys(files, 'add')]
  assert hub.files(REPO) == files | {'.gitattributes': b''}
  assert_same_parameters(f'hf://{REPO}', timm)
  # What is pushed on top replaces it; a model card of somebody's own stays.
  hub.add(REPO, hub.files(REPO) | {'README.md': b'Mine.'})
  again = tmp_path / 'again'
  assert push(run, again, f'--push={REPO}', to='huggingface') == 0
  assert 'its README.md stays' in capsys.readouterr().out
  assert hub.files(REPO)['README.md'] == b'Mine.'
  third = tmp_path / 'third'
  assert push(run, third, f'--push={REPO}') == 0
  assert hub.commits[-1]['preprocessor_config.json'] == 'delete'
  assert loading.find(f'hf://{REPO}').format == 'timm'


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (('--push=tiny',), 'is not OWNER/NAME'),
    ((f'--push={REPO}@main',), 'is not OWNER/NAME'),
    (('--private',), '--private is for a repository'),
    ((f'--push={REPO}', '--to=google'), 'needs a format that others load'),
    ((f'--push={REPO}', '--to=orbax'), 'needs a format that others load'),
  ],
)
def test_a_push_that_can_not_be_is_refused_before_any_work(
  arguments, message, hub, run, tmp_path, capsys
):
  assert push(run, tmp_path / 'there', *arguments) == 2
  assert message in capsys.readouterr().err
  assert not hub.log and not (tmp_path / 'there').exists()


def test_who_may_push_is_found_out_before_any_work(
  hub, run, tmp_path, monkeypatch, capsys
):
  def refused(message, *arguments):
    assert push(run, tmp_path / 'there', f'--push={REPO}', *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'there').exists()

  hub.add(REPO, {})
  refused('is there already and public', '--private')
  monkeypatch.setenv('HF_TOKEN', 'hf_of_nobody')
  refused('the Hub refuses the token')
  monkeypatch.delenv('HF_TOKEN')
  refused('needs a token that may write')
  monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
  monkeypatch.setenv('HF_TOKEN', hub_server.TOKEN)
  refused('HF_HUB_OFFLINE is set')


def test_a_push_that_fails_says_how_to_do_it_again(hub, run, tmp_path, capsys):
  hub.failing['POST /api/models/*/commit/*'] = 500
  target = tmp_path / 'out there'
  assert push(run, target, f'--push={REPO}', '--private') == 2
  said = capsys.readouterr().err
  assert 'answers 500: It fails. The weights are in' in said
  assert f"hf upload --private {REPO} '{target}' ." in said
  assert (target / 'model.safetensors').exists() and not hub.commits
  hub.failing.clear()
  assert push(run, tmp_path / 'a', '--push=others/tiny') == 2
  assert 'the token may not do this' in capsys.readouterr().err


# Model cards ------------------------------------------------------------------


def front_matter(text):
  return yaml.safe_load(re.fullmatch('---\n(.*?)---\n.*', text, re.S)[1])


def make_card(num_classes=3, names=NAMES, **source):
  config = schema.default()
  config.model.name = 'ViT-B/16'
  return cards.Card(config.model, num_classes, names, (224, 224), source=source)


def card_text(card, format_name='timm', repo='', untold=()):
  return model_card.text(
    model_card.Published(card, format_name, 12, '/tmp/there', untold, repo)
  )


def test_the_card_of_a_run_says_what_is_known_and_no_path(timm):
  text = (timm / 'README.md').read_text()
  said = front_matter(text)
  assert said['library_name'] == 'timm'
  assert said['base_model'] == 'google/vit-base'
  (index,) = said['model-index']
  (result,) = index['results']
  assert result['dataset']['name'] == 'photos of mine'
  assert result['metrics'] == [{'type': 'accuracy', 'value': 87.5}]
  assert 'on the evaluation split, on 80 images: 87.50 %' in text
  assert '`cat`, `dog`, `owl`' in text and '/home' not in text
  assert "timm.create_model('local-dir:timm'" in text
  assert 'license' not in said and 'datasets' not in said


def test_the_card_of_what_is_not_known_claims_nothing():
  text = card_text(make_card(names=None))
  assert front_matter(text) == {
    'library_name': 'timm',
    'pipeline_tag': 'image-classification',
    'tags': ['image-classification', 'timm', 'vit_jax'],
  }
  for word in '%', 'Origin', 'Accuracy', 'icence', 'Trained':
    assert word not in text
  assert 'image-feature-extraction' in card_text(make_card(0, None, accuracy=9))


def test_an_accuracy_is_of_these_very_weights():
  evaluated = {'step': 5, 'accuracy': 0.5}
  for source in (
    {'dataset': 'cifar10', 'step': 6, 'evaluated': evaluated},
    {'dataset': 'cifar10', 'evaluated': evaluated},
    {'accuracy': None},
    {'accuracy': 'high'},
    {'dataset': 'cifar10', 'step': 5, 'evaluated': {'accuracy': None}},
  ):
    assert not model_card.results(make_card(**source))
  known = make_card(dataset='cifar10', step=5, evaluated=evaluated)
  assert [result[:2] for result in model_card.results(known)] == [
    ('cifar10', 50.0)
  ]
  without_head = dataclasses.replace(known, num_classes=0, class_names=None)
  assert not model_card.results(without_head)
  assert front_matter(card_text(known))['datasets'] == ['uoft-cs/cifar10']


@pytest.mark.parametrize(
  ('licence', 'said'),
  [
    ('Apache-2.0', {'license': 'apache-2.0'}),
    ('My Own: "x"', {'license': 'other', 'license_name': 'my-own-x'}),
    ('!!', {'license': 'other'}),
    (None, {}),
    (['mit'], {}),
  ],
)
def test_a_licence_is_written_as_the_hub_wants_it(licence, said):
  found = front_matter(card_text(make_card(licence=licence)))
  assert {k: v for k, v in found.items() if k.startswith('license')} == said


def test_what_strangers_call_things_stays_text():
  nasty = 'a: [b]\n---\n# <script>`x`\u202e" no'
  card = make_card(
    names=(nasty, 'yes', '`'),
    name=nasty,
    licence=nasty,
    dataset=nasty,
    repository=nasty,
    commit=nasty,
    init=nasty,
    step=1,
    evaluated={'step': 1, 'accuracy': 0.5},
  )
  text = card_text(card, repo='somebody/yes')
  found = front_matter(text)
  assert found['model-index'][0]['name'] == 'yes'
  assert found['model-index'][0]['results'][0]['dataset']['name'].startswith(
    'a:'
  )
  body = text.split('\n---\n', 1)[1]
  for line in body.splitlines():
    assert not line.startswith(('---', '# <'))
    assert line.startswith('```') or line.count('`') % 2 == 0
    outside = ''.join(line.split('`')[::2])
    assert '<script>' not in outside


def test_the_library_reads_the_metadata(timm):
  import huggingface_hub

  data = huggingface_hub.ModelCard((timm / 'README.md').read_text()).data
  assert data.library_name == 'timm'
  (result,) = data.eval_results
  assert result.metric_value == 87.5


def test_many_classes_are_not_all_named():
  names = class_names.imagenet(1000)
  text = card_text(make_card(1000, names))
  assert 'and 980 more' in text and len(text) < 4000
